// SPDX-License-Identifier: Apache-2.0
// How streams come to be and end: TLS, tokens, back-off, servers that hang (data-plane contract 2.2, 3.5, 3.7).
#include "tests/agent/xds/fake_xds_server.h"
#include "tests/catch.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;
using xds::Termination;

namespace {

// The back-off's n-th wait, with its jitter.
bool near(std::chrono::nanoseconds pause, std::chrono::milliseconds nominal) {
    return pause >= nominal * 4 / 5 && pause <= nominal * 6 / 5;
}

std::string read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("xds client: token, cluster and extra headers; the token file is read for each stream") {
    XdsWorld w;
    auto options = w.options();
    options.headers = {{"x-tenant", "blue"}};
    w.start(std::move(options));
    auto stream = w.server->stream();
    CHECK(stream->metadata["authorization"] == "Bearer first-token");
    CHECK(stream->metadata["clusterid"] == "Kubernetes");
    CHECK(stream->metadata["x-tenant"] == "blue");
    answer_first(*stream);
    w.dir.replace("token", "second-token");
    stream->end(grpc::Status::OK);
    CHECK(w.server->stream()->metadata["authorization"] == "Bearer second-token");
}

TEST_CASE("xds client: without a token there are no auth headers; an unreadable one is waited out") {
    XdsWorld w;
    auto options = w.options();
    options.token = {};
    w.start(std::move(options));
    const auto stream = w.server->stream();
    CHECK(stream->metadata.count("authorization") == 0);
    CHECK(stream->metadata.count("clusterid") == 0);
    w.client.reset();

    XdsWorld late;
    late.dir.write("token", " \n");
    late.start();
    REQUIRE(late.handler.wait_for([&] { return late.handler.ends.size() >= 2; }));
    CHECK(late.handler.end_at(0).first == Termination::ConnectionError);
    CHECK(late.handler.end_at(0).second.find(late.token) != std::string::npos);
    CHECK(late.server->calls() == 0);
    late.dir.replace("token", "now");
    CHECK(late.server->stream()->metadata["authorization"] == "Bearer now");
}

TEST_CASE("xds client: roots are read at each connection, and a bad file is an Error that is waited out") {
    XdsWorld w;
    const TestCa other("someone else");
    w.dir.write("root.pem", other.pem());
    w.start();
    REQUIRE(w.handler.wait_for([&] { return w.handler.ends.size() >= 2; }));
    CHECK(w.handler.end_at(0).first == Termination::ConnectionError);
    CHECK(w.server->calls() == 0);
    w.dir.replace("root.pem", "no certificate");
    REQUIRE(w.handler.wait_for([&] {
        return w.handler.ends.back().first == Termination::Error && w.handler.ends.back().second.find(w.root) != std::string::npos;
    }));
    w.dir.replace("root.pem", w.ca.pem());
    answer_first(*w.server->stream());
}

TEST_CASE("xds client: the server's name is the address's host or the alternative one") {
    XdsWorld w("istiod.istio-system.svc");
    auto wrong = w.options();
    wrong.alternative_host = "istiod.other.svc";
    w.start(std::move(wrong));
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).first == Termination::ConnectionError);
    CHECK(w.server->calls() == 0);
    w.client->stop();
    auto right = w.options();
    right.alternative_host = "istiod.istio-system.svc";
    w.start(std::move(right));
    answer_first(*w.server->stream());
    XdsWorld both;
    auto options = both.options();
    options.alternative_host = "istiod.istio-system.svc";
    both.start(std::move(options));
    answer_first(*both.server->stream());
}

TEST_CASE("xds client: a server named by its address") {
    const TempDir dir;
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2 -addext "
        "subjectAltName=IP:127.0.0.1 -keyout " +
        dir.file("key") + " -out " + dir.file("cert") + " 2>/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs.push_back({read(dir.file("key")), read(dir.file("cert"))});
    FakeXdsServer server({.credentials = grpc::SslServerCredentials(tls)});
    XdsWorld w;
    auto options = w.options();
    options.address = "127.0.0.1:" + std::to_string(server.port());
    options.roots = xds::RootSource::pem(read(dir.file("cert")));
    w.start(options);
    answer_first(*server.stream());
    // The common name does not count.
    XdsWorld by_name;
    options.address = "localhost:" + std::to_string(server.port());
    options.wait = [](auto) { return true; };
    by_name.start(options);
    REQUIRE(by_name.handler.wait_for([&] { return !by_name.handler.ends.empty(); }));
    CHECK(by_name.handler.end_at(0).first == Termination::ConnectionError);
}

TEST_CASE("xds client: over the node agent's socket there is no TLS and no token leaves") {
    XdsWorld w;
    FakeXdsServer local({.address = "unix:" + w.dir.file("xds.sock"), .credentials = grpc::InsecureServerCredentials()});
    auto options = w.options();
    options.address = "unix:" + w.dir.file("xds.sock");
    options.roots = {};
    w.start(std::move(options));
    const auto stream = local.stream();
    CHECK(stream->metadata.count("authorization") == 0);
    answer_first(*stream);
}

TEST_CASE("xds client: refused calls are ConnectionErrors, each waited out twice as long, until one works") {
    XdsWorld w;
    w.server->refuse({{grpc::StatusCode::UNAUTHENTICATED, "no"},
                      {grpc::StatusCode::UNAVAILABLE, "not ready"},
                      {grpc::StatusCode::UNKNOWN, "x"},
                      {grpc::StatusCode::UNAVAILABLE, "transport is closing"},
                      grpc::Status::OK});
    w.start();
    answer_first(*w.server->stream());
    REQUIRE(w.handler.ends.size() == 5);
    REQUIRE(w.pauses.size() == 5);
    for (size_t i = 0; i < 4; ++i) CHECK(w.handler.end_at(i).first == Termination::ConnectionError);
    CHECK(w.handler.end_at(4).first == Termination::Complete);
    for (size_t i = 0; i < 5; ++i) CHECK(near(w.pauses[i], std::chrono::milliseconds(20 << i)));
    CHECK(w.handler.end_at(0).second == "UNAUTHENTICATED: no");
    const auto stats = w.client->stats();
    CHECK(stats.terminations == std::array<uint64_t, 4>{4, 0, 0, 1});
    CHECK(stats.attempts == 6);
}

TEST_CASE("xds client: a stream that worked is reopened at once, soon or after a wait, by how it ended") {
    XdsWorld w;
    w.start();
    const std::tuple<grpc::Status, Termination, std::chrono::milliseconds> ends[] = {
        {grpc::Status::OK, Termination::Complete, 0ms},
        {{grpc::StatusCode::UNAVAILABLE, "transport is closing"}, Termination::Reconnect, 10ms},
        {{grpc::StatusCode::CANCELLED, ""}, Termination::Reconnect, 10ms},
        {{grpc::StatusCode::PERMISSION_DENIED, ""}, Termination::Error, 20ms},
        {{grpc::StatusCode::UNAVAILABLE, "overloaded"}, Termination::Error, 40ms},
        {{grpc::StatusCode::UNKNOWN, ""}, Termination::Reconnect, 10ms},
        {{grpc::StatusCode::INTERNAL, ""}, Termination::Error, 20ms},
    };
    size_t n = 0;
    for (const auto& [status, reason, pause] : ends) {
        const auto stream = w.server->stream();
        answer_first(*stream);
        stream->end(status);
        REQUIRE(w.handler.wait_for([&] { return w.handler.ends.size() == n + 1; }));
        CHECK(w.handler.end_at(n).first == reason);
        ++n;
    }
    answer_first(*w.server->stream());
    REQUIRE(w.pauses.size() == n);
    for (size_t i = 0; i < n; ++i) CHECK((w.pauses[i] == std::get<2>(ends[i]) || near(w.pauses[i], std::get<2>(ends[i]))));
}

TEST_CASE("xds client: an Error after a long stream begins a new series of waits") {
    base::FakeClock clock;
    XdsWorld w;
    auto options = w.options();
    options.clock = &clock;
    w.start(std::move(options));
    for (int i = 0; i < 3; ++i) {
        const auto stream = w.server->stream();
        answer_first(*stream);
        if (i == 2) clock.advance(16s);
        stream->end({grpc::StatusCode::INTERNAL, ""});
    }
    answer_first(*w.server->stream());
    CHECK(near(w.pauses.at(0), 20ms));
    CHECK(near(w.pauses.at(1), 40ms));
    CHECK(near(w.pauses.at(2), 20ms));
}

TEST_CASE("xds client: a peer that fell silent is noticed by the pings, and the next stream works") {
    XdsWorld w;
    Relay relay(w.server->port());
    auto options = w.options();
    options.address = "localhost:" + std::to_string(relay.port());
    options.ping_interval = 100ms;
    options.ping_timeout = 200ms;
    options.open_timeout = 500ms;
    w.start(std::move(options));
    const auto stream = w.server->stream();
    answer_first(*stream);
    // Silence of a peer that answers pings is not the end.
    CHECK(stream->quiet_for(1s));
    CHECK(w.handler.ends.empty());
    relay.freeze();
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).first == Termination::Reconnect);
    relay.thaw();
    answer_first(*w.server->stream());
}

TEST_CASE("xds client: a server that keeps the stream open and never answers is given up") {
    XdsWorld w;
    auto options = w.options();
    options.answer_timeout = 200ms;
    w.start(std::move(options));
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(response(kAddress, "1", {}));
    CHECK(stream->wait_gone());
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).first == Termination::Error);
    // Once everything is answered, silence is normal.
    const auto next = w.server->stream();
    answer_first(*next);
    CHECK(next->quiet_for(500ms));
    CHECK(w.handler.ends.size() == 1);
}

TEST_CASE("xds client: a message that is no response ends the stream") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    DeltaDiscoveryResponse damaged;
    // A field of wire type 3: a group, which nothing of ours has.
    damaged.GetReflection()->MutableUnknownFields(&damaged)->AddGroup(99)->AddVarint(1, 1);
    stream->send(damaged);
    CHECK(stream->wait_gone());
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).first == Termination::Error);
    CHECK(w.handler.seen.empty());
}

TEST_CASE("xds client: stop is prompt while the server hangs, while nobody answers the handshake, and while waiting") {
    const auto stop = [](XdsWorld& w) {
        const auto began = std::chrono::steady_clock::now();
        w.client->stop();
        return std::chrono::steady_clock::now() - began;
    };
    {
        XdsWorld w;
        w.start();
        w.server->stream()->take();
        CHECK(stop(w) < 1s);
        CHECK_FALSE(w.client->stats().connected);
    }
    {
        XdsWorld w;
        Relay relay(w.server->port());
        relay.freeze();
        auto options = w.options();
        options.address = "localhost:" + std::to_string(relay.port());
        w.start(std::move(options));
        REQUIRE(relay.wait_called());
        CHECK(stop(w) < 1s);
    }
    {
        XdsWorld w;
        auto options = w.options();
        options.wait = {};
        w.server->refuse(std::vector<grpc::Status>(12, {grpc::StatusCode::INTERNAL, ""}));
        w.start(std::move(options));
        REQUIRE(w.handler.wait_for([&] { return w.handler.ends.size() == 7; }));
        // By now it waits, 1 s at least.
        CHECK(w.handler.quiet_for(100ms));
        CHECK(stop(w) < 500ms);
    }
}

TEST_CASE("xds client: subscribers and readers of statistics from many threads while streams come and go") {
    XdsWorld w;
    auto options = w.options();
    options.types = {{kAddress, true}, {kAuthorization}};
    w.start(std::move(options));
    std::atomic<bool> done = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; !done; ++i) {
                const std::vector<std::string> names{"n-" + std::to_string(t) + "-" + std::to_string(i % 500)};
                static_cast<void>(w.client->subscribe(kAddress, names));
                static_cast<void>(w.client->stats());
                if (i % 3 == 0) static_cast<void>(w.client->unsubscribe(kAddress, names));
                std::this_thread::yield();
            }
        });
    for (int i = 0; i < 10; ++i) {
        const auto stream = w.server->stream();
        stream->send(response(kAuthorization, "1", {}));
        for (int n = 0; n < 8; ++n) stream->take();
        stream->end(grpc::Status::OK);
    }
    done = true;
    for (auto& thread : threads) thread.join();
    CHECK(w.client->stats().terminations[static_cast<size_t>(Termination::Complete)] >= 9);
}
