// SPDX-License-Identifier: Apache-2.0
// The server with our client on the other end: TLS, tokens, sockets, restarts, churn (issue: xDS server; traps 29, 37, 38, 48).
#include "agent/xds/server.h"

#include "agent/xds/channel.h"
#include "agent/xds/relay.h"
#include "tests/agent/xds/fake_xds_server.h"
#include "tests/catch.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;

namespace {

// Takes tokens; a node must be of the identity's namespace.
class TokenCheck final : public xds::Authenticator {
  public:
    void authenticate(const xds::Caller& caller, Done done) override {
        for (const auto& [name, value] : caller.metadata)
            if (name == "authorization" && value == "Bearer first-token") return done(std::string("istio-system"));
        done(base::Error{base::Errc::Denied, 0, "", "no token that is known here"});
    }
    base::Result<void> authorize(const std::string& identity, const xds::NodeInfo& node) override {
        if (node.metadata.at("NAMESPACE") == identity) return {};
        return base::Error{base::Errc::Denied, 0, "", "the node is not of namespace " + identity};
    }
    base::Result<void> recheck(const std::string& identity, const std::string& certificate) override {
        ++rechecks;
        if (identity == "istio-system" && certificate.empty() && !revoked) return {};
        return base::Error{base::Errc::Denied, 0, "", "revoked meanwhile"};
    }
    std::atomic<bool> revoked = false;
    std::atomic<int> rechecks = 0;
};

struct ServerWorld {
    xds::ServerTls tls_of(const TestCa& from) {
        const Leaf leaf = from.leaf(LeafSpec{.uris = {}, .dns = {"localhost"}, .eku = "serverAuth"});
        return {leaf.cert_pem, leaf.key_pem, {}};
    }
    xds::ServerOptions server_options() {
        xds::ServerOptions made;
        made.listeners = {{"127.0.0.1:" + std::to_string(port)}};
        made.tls = tls_of(ca);
        made.authenticator = &check;
        made.debounce_quiet = 5ms;
        made.debounce_max = 50ms;
        made.max_new_streams_per_peer_at_once = 1'000;  // its clients do not back off
        return made;
    }
    void start_server(xds::ServerOptions options) {
        auto made = xds::Server::create(std::move(options));
        INFO((made ? "" : made.error().message()));
        REQUIRE(made);
        server = std::move(*made);
        port = server->ports().at(0);
    }
    void start_server() { start_server(server_options()); }
    xds::ClientOptions client_options() {
        xds::ClientOptions made;
        made.address = "https://localhost:" + std::to_string(port);
        made.roots = xds::RootSource::file(root);
        made.token = xds::TokenSource::file(token);
        made.node.pod_name = "ztunnel-x";
        made.node.pod_namespace = "istio-system";
        made.wait = [](std::chrono::nanoseconds) {
            std::this_thread::sleep_for(5ms);
            return true;
        };
        return made;
    }
    void start_client(xds::ClientOptions options) {
        auto made = xds::Client::create(std::move(options), handler);
        REQUIRE(made);
        client = std::move(*made);
        client->start();
    }
    void set(const std::string& name, const std::string& version, const std::string& body, std::vector<std::string> aliases = {},
             std::vector<std::string> groups = {}) {
        REQUIRE(sets[kAddress].set({name, version, base::as_bytes(body), std::move(aliases), std::move(groups)}));
    }
    void publish() {
        static_cast<void>(sets[kAddress]), static_cast<void>(sets[kAuthorization]);
        REQUIRE(server->publish(sets));
    }
    std::map<std::string, std::string> truth() {
        std::map<std::string, std::string> all;
        for (const auto& [type, set_of] : sets)
            set_of.for_each([&](const xds::ResourceBlock& b) { all[std::string(b.name())] = base::as_text(b.body()); });
        return all;
    }
    bool converged() {
        return handler.wait_for([&] { return handler.state == truth(); });
    }
    template <class Pred>
    bool wait_until(Pred pred) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!pred()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }

    TempDir dir;
    TestCa ca{"control plane"};
    std::string root = dir.write("root.pem", ca.pem());
    std::string token = dir.write("token", "first-token\n");
    TokenCheck check;
    int port = 0;
    xds::Snapshot sets;
    std::unique_ptr<xds::Server> server;
    RecordingHandler handler;
    std::unique_ptr<xds::Client> client;
};

}  // namespace

TEST_CASE("xds server: a client under TLS with a token gets the state, changes and removals, and is seen in the status") {
    ServerWorld w;
    w.start_server();
    w.set("a", "1", "x"), w.set("b", "1", "y");
    REQUIRE(w.sets[kAuthorization].set({"ns/p", "", base::as_bytes("policy")}));
    w.publish();
    w.start_client(w.client_options());
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 2; }));
    CHECK(w.converged());
    w.set("b", "2", "z"), w.set("c", "1", "new"), w.sets[kAddress].erase("a");
    w.publish();
    CHECK(w.converged());
    REQUIRE(w.wait_until([&] { return w.server->stats().acks == 3; }));
    const auto clients = w.server->clients();
    REQUIRE(clients.size() == 1);
    CHECK(clients[0].node_id == "ztunnel~1.1.1.1~ztunnel-x.istio-system~istio-system.svc.cluster.local");
    CHECK(clients[0].identity == "istio-system");
    REQUIRE(clients[0].types.size() == 2);
    CHECK(clients[0].types[0].wildcard);
    CHECK(clients[0].types[0].held == 2);
    CHECK(clients[0].types[0].acked_generation == clients[0].types[0].sent_generation);
    w.client->stop();
    CHECK(w.wait_until([&] { return w.server->stats().clients == 0; }));
}

TEST_CASE("xds server: callers without a known token, and nodes of another namespace, are refused") {
    ServerWorld w;
    w.start_server();
    w.publish();
    auto options = w.client_options();
    SECTION("token") { options.token = xds::TokenSource::literal("wrong"); }
    SECTION("namespace") { options.node.pod_namespace = "elsewhere"; }
    w.start_client(options);
    REQUIRE(w.handler.wait_for([&] { return w.handler.ends.size() >= 2; }));
    CHECK((w.handler.end_at(0).second.find("no token that is known here") != std::string::npos ||
           w.handler.end_at(0).second.find("not of namespace") != std::string::npos));
    CHECK(w.handler.seen.empty());
    CHECK(w.server->stats().denied >= 2);
}

TEST_CASE("xds server: an open stream is asked about again, and ends when its node is not welcome any more") {
    ServerWorld w;
    auto options = w.server_options();
    options.recheck_interval = 1ms;
    w.start_server(options);
    w.set("a", "1", "x");
    w.publish();
    w.start_client(w.client_options());
    REQUIRE(w.converged());
    REQUIRE(w.wait_until([&] { return w.check.rechecks >= 2; }));
    CHECK(w.handler.ends.empty());
    w.check.revoked = true;
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).second.find("revoked meanwhile") != std::string::npos);
    CHECK(w.server->stats().denied >= 1);
}

TEST_CASE("xds server: no stream before there is a state") {
    ServerWorld w;
    w.start_server();
    w.start_client(w.client_options());
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).second.find("no state yet") != std::string::npos);
    w.set("a", "1", "x");
    REQUIRE(w.server->publish({{kAddress, w.sets[kAddress]}}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.ends.size() > 4; }));
    CHECK(w.handler.seen.empty());
    w.publish();
    CHECK(w.converged());
}

TEST_CASE("xds server: trap 38: after a restart a client resumes with its versions and gets only the differences") {
    ServerWorld w;
    w.start_server();
    for (int i = 0; i < 1'000; ++i) w.set("n" + std::to_string(i), "1", "x");
    w.publish();
    w.start_client(w.client_options());
    REQUIRE(w.converged());
    w.server.reset();
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.state.size() == 1'000);
    w.set("n7", "2", "changed"), w.set("new", "1", "x"), w.sets[kAddress].erase("n8");
    const size_t before = w.handler.seen.size();
    w.start_server();
    w.publish();
    REQUIRE(w.converged());
    const auto& seen = w.handler.seen.at(before);
    CHECK(seen.resources.size() == 2);
    CHECK(seen.removed == std::vector<std::string>{"n8"});
}

TEST_CASE("xds server: a new certificate is used from the next connection on, and no stream ends") {
    ServerWorld w;
    w.start_server();
    w.publish();
    w.start_client(w.client_options());
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 2; }));
    const TestCa other("another control plane");
    CHECK_FALSE(w.server->set_tls({"no pem", "no pem", {}}));
    REQUIRE(w.server->set_tls(w.tls_of(other)));
    w.set("a", "1", "x");
    w.publish();
    REQUIRE(w.converged());
    CHECK(w.handler.ends.empty());
    // Who trusts the new authority alone is served; the old roots are not enough any more.
    RecordingHandler second;
    auto options = w.client_options();
    options.roots = xds::RootSource::pem(other.pem());
    auto made = xds::Client::create(options, second);
    REQUIRE(made);
    (*made)->start();
    REQUIRE(second.wait_for([&] { return second.state.size() == 1; }));
    RecordingHandler third;
    auto stale = xds::Client::create(w.client_options(), third);
    REQUIRE(stale);
    (*stale)->start();
    REQUIRE(third.wait_for([&] { return third.ends.size() >= 2; }));
    CHECK(third.seen.empty());
}

TEST_CASE("xds server: a unix socket is for its owner only, and needs neither TLS nor a token") {
    ServerWorld w;
    const std::string path = w.dir.path() + "/xds.sock";
    auto options = w.server_options();
    options.listeners = {{"unix:" + path}, {"127.0.0.1:0"}};
    options.authenticator = nullptr;
    w.start_server(options);
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    w.set("a", "1", "x");
    w.publish();
    auto client = w.client_options();
    client.address = "unix:" + path;
    client.token = {};
    w.start_client(client);
    CHECK(w.converged());
}

TEST_CASE("xds server: on demand over the wire: asked, unknown, created later, removed") {
    ServerWorld w;
    w.start_server();
    w.set("uid-1", "1", "x", {"net/10.0.0.1"}), w.set("uid-2", "1", "y", {"net/10.0.0.2"});
    w.publish();
    auto options = w.client_options();
    options.types = {{kAddress, true}, {kAuthorization, false}};
    w.start_client(options);
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 1; }));
    const std::vector<std::string> names{"net/10.0.0.1", "net/10.0.0.9"};
    REQUIRE(w.client->subscribe(kAddress, names));
    REQUIRE(w.handler.wait_for([&] { return w.handler.state.contains("uid-1"); }));
    CHECK_FALSE(w.handler.state.contains("uid-2"));
    w.set("uid-9", "1", "z", {"net/10.0.0.9"});
    w.publish();
    REQUIRE(w.handler.wait_for([&] { return w.handler.state.contains("uid-9"); }));
    w.sets[kAddress].erase("uid-1");
    w.publish();
    CHECK(w.handler.wait_for([&] { return w.handler.state == std::map<std::string, std::string>{{"uid-9", "z"}}; }));
}

TEST_CASE("xds server: changes within the debounce are one push, and a stream of changes is not put off for ever") {
    ServerWorld w;
    auto options = w.server_options();
    options.debounce_quiet = 200ms;
    options.debounce_max = 400ms;
    w.start_server(options);
    w.publish();
    w.start_client(w.client_options());
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 2; }));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; std::chrono::steady_clock::now() - begin < 1'000ms; ++i) {
        w.set("a", std::to_string(i), std::to_string(i));
        w.publish();
        std::this_thread::sleep_for(1ms);
    }
    REQUIRE(w.converged());
    const auto stats = w.server->stats();
    CHECK(stats.publications > 50);
    CHECK(stats.flushes >= 3);
    CHECK(stats.flushes <= 6);
}

TEST_CASE("xds server: trap 37: churn with clients that come and go while status is read: every one ends with the same state") {
    ServerWorld w;
    w.start_server();
    w.publish();
    struct Peer {
        RecordingHandler handler;
        std::unique_ptr<xds::Client> client;
    };
    std::vector<std::unique_ptr<Peer>> peers;
    const auto add = [&] {
        auto peer = std::make_unique<Peer>();
        auto made = xds::Client::create(w.client_options(), peer->handler);
        REQUIRE(made);
        peer->client = std::move(*made);
        peer->client->start();
        peers.push_back(std::move(peer));
    };
    for (int i = 0; i < 5; ++i) add();
    std::atomic<bool> done = false;
    std::thread watcher([&] {
        while (!done) static_cast<void>(w.server->clients()), static_cast<void>(w.server->stats());
    });
    std::mt19937 random(3);
    for (int i = 0; i < 3'000; ++i) {
        const std::string name = "n" + std::to_string(random() % 300);
        if (random() % 4 == 0)
            w.sets[kAddress].erase(name);
        else
            w.set(name, std::to_string(i), "body " + std::to_string(i));
        w.publish();
        if (i % 100 == 0) std::this_thread::sleep_for(3ms);
        if (i % 500 == 250) {
            peers[static_cast<size_t>(i) / 500 % peers.size()].reset();
            peers.erase(std::remove(peers.begin(), peers.end(), nullptr), peers.end());
            add();
        }
    }
    const auto truth = w.truth();
    for (const auto& peer : peers) CHECK(peer->handler.wait_for([&] { return peer->handler.state == truth; }));
    done = true;
    watcher.join();
}

namespace {

// A client behind a relay that can be frozen, at a server whose time is the test's: however slow the machine, no deadline passes before the
// client has stopped reading. gRPC's own time is the machine's, so its pings, and TCP's patience that comes from them, are made long; a
// write that TCP has begun ends with the connection or when the relay thaws.
struct FrozenWorld : ServerWorld {
    base::FakeClock clock;
    std::unique_ptr<Relay> relay;
    RecordingHandler stuck;
    std::unique_ptr<xds::Client> slow;

    explicit FrozenWorld(std::chrono::milliseconds max_stream_age) {
        auto options = server_options();
        options.clock = &clock;
        options.debounce_quiet = options.debounce_max = 0ms;
        options.max_stream_age = max_stream_age;
        options.answer_timeout = 60s;
        options.recheck_interval = 1s;  // its questions show that a sweep has seen the stream
        options.ping_interval = options.ping_timeout = 10min;
        start_server(options);
        set("a", "1", "x");
        publish();
        relay = std::make_unique<Relay>(port);
        auto through = client_options();
        through.address = "https://localhost:" + std::to_string(relay->port());
        auto made = xds::Client::create(through, stuck);
        REQUIRE(made);
        slow = std::move(*made);
        slow->start();
        // Both types are acknowledged: nothing holds back the next response.
        REQUIRE(stuck.wait_for([&] { return stuck.state.size() == 1; }));
        REQUIRE(wait_until([&] { return server->stats().acks == 2; }));
    }
    ~FrozenWorld() { slow.reset(); }
};

}  // namespace

TEST_CASE("xds server: a client that stops reading is given up at its deadline, and the others do not notice") {
    FrozenWorld w(0ms);
    w.start_client(w.client_options());
    REQUIRE(w.converged());
    REQUIRE(w.wait_until([&] { return w.server->stats().acks == 4; }));
    w.relay->freeze();
    for (int i = 0; i < 20; ++i) {
        w.set("big" + std::to_string(i), "1", std::string(1 << 20, 'x'));
        w.publish();
        REQUIRE(w.converged());
    }
    REQUIRE(w.wait_until([&] { return w.server->stats().acks == 24; }));
    CHECK(w.server->stats().timed_out == 0);
    w.clock.advance(61s);
    CHECK(w.wait_until([&] { return w.server->stats().timed_out == 1; }));
    w.relay->thaw();
    CHECK(w.stuck.wait_for([&] { return w.stuck.state.size() == 21 && !w.stuck.ends.empty(); }));
    CHECK(w.wait_until([&] { return w.server->stats().encoded_bytes == 0; }));
    CHECK(w.handler.wait_for([&] { return w.handler.ends.empty(); }));
    CHECK(w.server->stats().timed_out == 1);
}

TEST_CASE("xds server: a stream that is to end does not wait for ever for a client that stopped reading") {
    FrozenWorld w(10s);
    w.relay->freeze();
    for (int i = 0; i < 20; ++i) w.set("big" + std::to_string(i), "1", std::string(1 << 20, 'x'));
    w.publish();
    REQUIRE(w.wait_until([&] { return w.server->stats().encoded_bytes > 0; }));
    w.clock.advance(20s);
    REQUIRE(w.wait_until([&] { return w.check.rechecks > 0; }));
    CHECK(w.server->stats().clients == 1);
    CHECK(w.server->stats().timed_out == 0);
    w.clock.advance(90s);  // the write may have begun after the clock moved
    CHECK(w.wait_until([&] { return w.server->stats().timed_out == 1; }));
    w.relay.reset();
    CHECK(w.wait_until([&] { return w.server->stats().clients == 0 && w.server->stats().encoded_bytes == 0; }));
}

namespace {

size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    size_t pages = 0, resident = 0;
    file >> pages >> resident;
    return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

// Sends one message as large as it is given, and waits for the end.
class Shouting final : grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
  public:
    Shouting(const std::shared_ptr<grpc::Channel>& channel, const grpc::ByteBuffer& message) : stub_(channel), message_(message) {
        context_.AddMetadata("authorization", "Bearer first-token");
        stub_.PrepareBidiStreamingCall(&context_, "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", {},
                                       this);
        StartWrite(&message_);
        StartCall();
    }
    ~Shouting() override {
        context_.TryCancel();
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return status_.has_value(); });
    }
    [[nodiscard]] bool done() {
        const std::lock_guard lock(mutex_);
        return status_.has_value();
    }
    [[nodiscard]] grpc::Status status() {
        const std::lock_guard lock(mutex_);
        return *status_;
    }

  private:
    void OnDone(const grpc::Status& status) override {
        const std::lock_guard lock(mutex_);
        status_ = status;
        changed_.notify_all();
    }
    grpc::GenericStub stub_;
    grpc::ByteBuffer message_;
    grpc::ClientContext context_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<grpc::Status> status_;
};

}  // namespace

TEST_CASE("xds server: many known clients with requests without end take no more than the quota, and the next is served") {
    ServerWorld w;
    auto options = w.server_options();
    options.max_request_bytes = 4 << 20;
    options.max_receive_memory = size_t{64} << 20;
    w.start_server(options);
    w.set("a", "1", "x");
    w.publish();
    // Sixteen connections, 64 MiB each: a gigabyte.
    const grpc::Slice piece(std::string(64 << 20, 'x'));
    const grpc::ByteBuffer huge(&piece, 1);
    std::vector<std::unique_ptr<Shouting>> hostile;
    const size_t before = resident_bytes();
    size_t most = 0;
    for (int i = 0; i < 16; ++i) {
        xds::ChannelOptions apart;
        apart.ping_interval = std::chrono::seconds(100 + i);  // gRPC shares a connection between channels that are alike
        auto channel = xds::make_channel(*xds::parse_endpoint("localhost:" + std::to_string(w.port)), w.ca.pem(), apart);
        REQUIRE(channel);
        hostile.push_back(std::make_unique<Shouting>(*channel, huge));
    }
    REQUIRE(w.wait_until([&] {
        most = std::max(most, resident_bytes() - std::min(before, resident_bytes()));
        return std::all_of(hostile.begin(), hostile.end(), [](const auto& one) { return one->done(); });
    }));
    // 88 MiB with the quota, 994 without, whatever the limit of a message: gRPC looks at that when it has all of it.
    CHECK(most < size_t{512} << 20);
    // Refused when its message is there, or cut by gRPC before, where the quota is full.
    for (const auto& one : hostile) {
        const auto code = one->status().error_code();
        CHECK((code == grpc::StatusCode::RESOURCE_EXHAUSTED || code == grpc::StatusCode::UNAVAILABLE));
    }
    w.start_client(w.client_options());
    CHECK(w.converged());
}

TEST_CASE("xds server: limits of streams: in all and of one address; old streams are ended in good order") {
    ServerWorld w;
    auto options = w.server_options();
    SECTION("of one address") {
        options.max_streams_per_peer = 1;
        w.start_server(options);
        w.publish();
        w.start_client(w.client_options());
        REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 2; }));
        RecordingHandler second;
        auto made = xds::Client::create(w.client_options(), second);
        REQUIRE(made);
        (*made)->start();
        REQUIRE(second.wait_for([&] { return !second.ends.empty(); }));
        CHECK(second.end_at(0).second.find("this address has its 1 streams") != std::string::npos);
    }
    SECTION("age") {
        options.max_stream_age = 1'100ms;
        w.start_server(options);
        w.publish();
        w.start_client(w.client_options());
        REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
        CHECK(w.handler.end_at(0).first == xds::Termination::Complete);
    }
}

TEST_CASE("xds server: a peer that opens streams without end is refused alone") {
    base::FakeClock clock;
    xds::Admission gate({.streams = 100, .per_peer = 8, .per_second = 10, .peer_per_second = 1, .peer_at_once = 3, .max_peers = 50}, clock);
    const auto enter = [&](const std::string& address, const std::string& identity = "") {
        const auto entered = gate.enter({address, identity});
        if (entered) gate.leave(address);
        return entered.has_value();
    };
    int hostile = 0;
    for (int i = 0; i < 1'000; ++i) hostile += enter("ipv4:10.0.0.9") ? 1 : 0;
    CHECK(hostile == 3);
    CHECK(gate.stats().peer_rate == 997);
    CHECK(enter("ipv4:10.0.0.1"));
    // Nodes behind the same address are told apart by what the handshake proved.
    CHECK(enter("ipv4:10.0.0.9", "spiffe://cluster.local/node/n1"));
    // All together have a limit too, and Unix sockets none of their own.
    int others = 0;
    for (int i = 0; i < 100; ++i) others += enter("ipv4:10.0.1." + std::to_string(i)) ? 1 : 0;
    CHECK(others == 5);
    CHECK(gate.stats().rate == 95);
    clock.advance(1s);
    for (int i = 0; i < 10; ++i) CHECK(enter(""));
    // Streams at once: an address's own, then all.
    xds::Admission few({.streams = 3, .per_peer = 2, .per_second = 100, .peer_per_second = 100, .peer_at_once = 100}, clock);
    CHECK(few.enter({"a", ""}));
    CHECK(few.enter({"a", ""}));
    CHECK_FALSE(few.enter({"a", ""}));
    CHECK(few.enter({"b", ""}));
    CHECK_FALSE(few.enter({"c", ""}));
    CHECK(few.stats().peer_streams == 1);
    CHECK(few.stats().streams == 1);
    few.leave("a");
    CHECK(few.enter({"a", ""}));
    CHECK(xds::peer_key("unix:/run/x").empty());
    CHECK(xds::peer_key("ipv6:%5B2001:db8::1%5D:7") == xds::peer_key("ipv6:[2001:db8::2]:8"));
}

TEST_CASE("xds server: errors at create name what is wrong; a second server on the port is one") {
    ServerWorld w;
    const auto error = [](xds::ServerOptions options) {
        const auto made = xds::Server::create(std::move(options));
        REQUIRE_FALSE(made);
        return made.error().message();
    };
    CHECK(error({}).find("listeners") != std::string::npos);
    CHECK(error({.listeners = {{"127.0.0.1:0"}}}).find("certificate chain") != std::string::npos);
    CHECK(error({.listeners = {{"unix:relative"}}}).find("unix:/PATH") != std::string::npos);
    w.start_server();
    CHECK(error(w.server_options()).find("in use") != std::string::npos);
    CHECK_FALSE(w.server->publish({{"type.example/x", xds::ResourceSet()}}));
}

TEST_CASE("xds relay: what the control plane sends reaches the tunnel byte for byte, with names to ask by, and not before all is there") {
    ServerWorld upstream, local;
    upstream.start_server();
    const std::string path = local.dir.path() + "/xds.sock";
    auto options = local.server_options();
    options.listeners = {{"unix:" + path}};
    options.authenticator = nullptr;
    local.start_server(options);
    RecordingHandler own;
    own.reject = [](const xds::Resource& r) { return r.name == "bad" ? std::string("no") : std::string(); };
    xds::Relay relay(
        {.names = [](std::string_view, const xds::Resource& r) { return xds::OtherNames{{"net/" + std::string(r.name)}, {"all"}}; }},
        *local.server, &own);
    auto client = xds::Client::create(upstream.client_options(), relay);
    REQUIRE(client);
    (*client)->start();

    auto tunnel = local.client_options();
    tunnel.address = "unix:" + path;
    tunnel.token = {};
    tunnel.types = {{kAddress, true}, {kAuthorization, false}};
    local.start_client(tunnel);
    REQUIRE(local.handler.wait_for([&] { return local.handler.ends.size() >= 2; }));
    CHECK(local.handler.seen.empty());
    CHECK_FALSE(relay.publishing());

    const std::string unknown_fields("\xfa\x07\x03\x01\x02\x03 and a zero \0", 20);
    upstream.set("a", "1", unknown_fields), upstream.set("b", "1", "x"), upstream.set("bad", "1", "x");
    REQUIRE(upstream.sets[kAuthorization].set({"ns/p", "", base::as_bytes("policy")}));
    upstream.publish();
    REQUIRE(local.handler.wait_for([&] { return local.handler.synced_types.size() == 1; }));
    CHECK(relay.publishing());
    const std::vector<std::string> names{"net/a", "net/bad"};
    REQUIRE(local.client->subscribe(kAddress, names));
    REQUIRE(local.handler.wait_for([&] { return local.handler.state.contains("a"); }));
    CHECK(local.handler.state.at("a") == unknown_fields);
    CHECK(local.handler.state.at("ns/p") == "policy");
    CHECK_FALSE(local.handler.state.contains("bad"));
    CHECK(own.state.size() == 3);
    upstream.sets[kAddress].erase("a");
    upstream.publish();
    CHECK(local.handler.wait_for([&] { return !local.handler.state.contains("a"); }));
    (*client)->stop();
}
