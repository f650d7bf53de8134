// SPDX-License-Identifier: Apache-2.0
// What is said on a stream, and what is remembered from one to the next (data-plane contract 3.1 to 3.4, 3.8).
#include "tests/agent/xds/fake_xds_server.h"
#include "tests/catch.h"

#include <thread>

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;

TEST_CASE("xds client: the first requests are Address, then Authorization, each with the node, wildcard by empty lists") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    for (const std::string& type : {kAddress, kAuthorization}) {
        const auto request = stream->take();
        CHECK(request.type_url() == type);
        CHECK(request.node().id() == "ztunnel~1.1.1.1~ztunnel-x.istio-system~istio-system.svc.cluster.local");
        CHECK(request.node().metadata().fields().at("NAMESPACE").string_value() == "istio-system");
        CHECK(subscribed(request).empty());
        CHECK(unsubscribed(request).empty());
        CHECK(versions(request).empty());
        CHECK(request.response_nonce().empty());
        CHECK_FALSE(request.has_error_detail());
    }
}

TEST_CASE("xds client: test_that_caches_are_warm_before_unblocked: ready after both types, in whatever order") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    stream->send(response(kAuthorization, "n1", {{"ns/p", "", "policy"}}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 1; }));
    CHECK_FALSE(w.client->synced());
    // The handler had it before it heard of it.
    CHECK(w.handler.state["ns/p"] == "policy");
    stream->send(response(kAddress, "n2", {}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 2; }));
    CHECK(w.client->synced());
    CHECK(w.handler.synced_types == std::vector<std::string>{kAuthorization, kAddress});
    // Never back again.
    stream->end({grpc::StatusCode::INTERNAL, "x"});
    const auto next = w.server->stream();
    next->send(response(kAddress, "n3", {}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.seen.size() == 3; }));
    CHECK(w.client->synced());
    CHECK(w.handler.synced_types.size() == 2);
}

TEST_CASE("xds client: an ACK is type and nonce, nothing else") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(response(kAddress, "nonce-1", {{"a", "1", "body a"}, {"b", "2", "body b"}}, {"c"}));
    const auto ack = stream->take();
    CHECK(ack.type_url() == kAddress);
    CHECK(ack.response_nonce() == "nonce-1");
    CHECK_FALSE(ack.has_error_detail());
    CHECK_FALSE(ack.has_node());
    CHECK(subscribed(ack).empty());
    CHECK(versions(ack).empty());
    const auto& seen = w.handler.seen.at(0);
    CHECK(seen.type == kAddress);
    CHECK(seen.resources == std::vector<std::pair<std::string, std::string>>{{"a", "body a"}, {"b", "body b"}});
    CHECK(seen.removed == std::vector<std::string>{"c"});
    const auto stats = w.client->stats();
    CHECK(stats.acks == 1);
    CHECK(stats.nacks == 0);
    CHECK(stats.connected);
    CHECK(stats.types[0].messages == 1);
    CHECK(stats.types[0].bytes == 12);
    CHECK(stats.types[0].held == 2);
}

TEST_CASE("xds client: what the handler rejects is NACKed by name and reason, the rest counts, readiness does not wait") {
    XdsWorld w;
    w.handler.reject = [](const xds::Resource& r) { return r.name == "good" ? "" : "bad port " + std::string(r.name); };
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(response(kAddress, "n", {{"x", "1", ""}, {"good", "1", "g"}, {"y", "1", ""}}));
    const auto nack = stream->take();
    CHECK(nack.response_nonce() == "n");
    REQUIRE(nack.has_error_detail());
    CHECK(nack.error_detail().code() == 0);
    CHECK(nack.error_detail().message() == "x: bad port x; y: bad port y");
    CHECK(w.handler.state.size() == 1);
    CHECK(w.handler.synced_types == std::vector<std::string>{kAddress});
    CHECK(w.client->stats().nacks == 1);
    CHECK(w.client->stats().types[0].rejected == 2);
    CHECK(w.client->stats().types[0].synced);
}

TEST_CASE("xds client: ten thousand rejections make a NACK that a server takes") {
    XdsWorld w;
    w.handler.reject = [](const xds::Resource&) { return std::string("not \xff this one"); };
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    std::vector<Item> items;
    for (int i = 0; i < 10'000; ++i) items.push_back({"name-" + std::to_string(i), "1", "x"});
    stream->send(response(kAddress, "n", items));
    const auto text = stream->take().error_detail().message();
    CHECK(text.size() < 10'000);
    CHECK(text.starts_with("name-0: not \xef\xbf\xbd this one; name-1: "));
    CHECK(text.ends_with(" more"));
}

TEST_CASE("xds client: a resource without a body or a name is refused alone and told to the handler") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    auto mixed = response(kAuthorization, "n", {{"ns/good", "", "g"}, {"", "", "nameless"}});
    mixed.add_resources()->set_name("ns/hollow");
    stream->send(mixed);
    CHECK(stream->take().error_detail().message() == ": a resource without a name; ns/hollow: there is no body");
    CHECK(w.handler.seen.at(0).resources.size() == 1);
    CHECK(w.handler.seen.at(0).refused.size() == 2);
    CHECK(w.handler.state.count("ns/good") == 1);
}

TEST_CASE("xds client: a type nobody asked for is acknowledged and ignored") {
    XdsWorld w;
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(response("type.googleapis.com/what.Ever", "n", {{"a", "1", "x"}}));
    const auto ack = stream->take();
    CHECK(ack.type_url() == "type.googleapis.com/what.Ever");
    CHECK(ack.response_nonce() == "n");
    CHECK_FALSE(ack.has_error_detail());
    CHECK(w.handler.seen.empty());
    CHECK(w.client->stats().types.back().messages == 1);
}

TEST_CASE("xds client: test_reconnect_echoes_retained_versions: accepted echoed, rejected not, removed forgotten") {
    XdsWorld w;
    w.handler.reject = [](const xds::Resource& r) { return r.version == "bad" ? "no" : ""; };
    w.start();
    auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(
        response(kAddress, "1", {{"kept", "1", ""}, {"gone", "1", ""}, {"updated", "1", ""}, {"spoiled", "1", ""}, {"never", "bad", ""}}));
    stream->send(response(kAddress, "2", {{"updated", "2", ""}, {"spoiled", "bad", ""}}, {"gone", "never had"}));
    stream->send(response(kAuthorization, "3", {{"ns/p", "", "policy"}}));
    CHECK(stream->take().has_error_detail());
    CHECK(stream->take().has_error_detail());
    CHECK_FALSE(stream->take().has_error_detail());
    stream->end(grpc::Status::OK);
    stream = w.server->stream();
    CHECK(versions(stream->take()) == std::map<std::string, std::string>{{"kept", "1"}, {"spoiled", "1"}, {"updated", "2"}});
    CHECK(versions(stream->take()) == std::map<std::string, std::string>{{"ns/p", ""}});
}

TEST_CASE("xds client: test_add_abort_remove: state survives the abort, what vanished meanwhile is removed after it") {
    XdsWorld w;
    w.start();
    auto stream = w.server->stream();
    stream->send(response(kAddress, "1", {{"a", "1", "A"}, {"b", "1", "B"}}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.state.size() == 2; }));
    stream->end({grpc::StatusCode::ABORTED, "restart"});
    stream = w.server->stream();
    CHECK(w.handler.state.size() == 2);
    CHECK(versions(stream->take()).size() == 2);
    stream->send(response(kAddress, "2", {}, {"a"}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.state.size() == 1; }));
    CHECK(w.handler.state.count("b") == 1);
    stream->end({grpc::StatusCode::ABORTED, "restart"});
    CHECK(versions(w.server->stream()->take()) == std::map<std::string, std::string>{{"b", "1"}});
}

TEST_CASE("xds client: trap 48: a rejected policy deleted while the stream was down is removed at the next one") {
    XdsWorld w;
    w.handler.reject = [](const xds::Resource& r) { return r.name == "ns/bad" || r.name == "ns/worse" ? "no" : ""; };
    w.start();
    auto stream = w.server->stream();
    stream->send(response(kAuthorization, "1", {{"ns/bad", "", ""}, {"ns/worse", "", ""}, {"ns/good", "", ""}}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.seen.size() == 1; }));
    stream->end(grpc::Status::OK);
    stream = w.server->stream();
    // Not listed, so the server says nothing of it; the first response lacks it. The listed one may be missing: it is unchanged.
    stream->send(response(kAuthorization, "2", {{"ns/worse", "", ""}}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.seen.size() == 2; }));
    CHECK(w.handler.seen.at(1).removed == std::vector<std::string>{"ns/bad"});
    // Once is enough, and only the first response of a stream says so.
    stream->send(response(kAuthorization, "3", {}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.seen.size() == 3; }));
    CHECK(w.handler.seen.at(2).removed.empty());
}

TEST_CASE("xds client: a list that the server does not take is left out, and the full state shows what is gone") {
    XdsWorld w("localhost", 64 * 1024);
    w.start();
    auto stream = w.server->stream();
    std::vector<Item> items;
    for (int i = 0; i < 3'000; ++i) items.push_back({"Kubernetes//Pod/default/workload-" + std::to_string(i), "0123456789", "x"});
    stream->send(response(kAddress, "1", items));
    REQUIRE(w.handler.wait_for([&] { return w.handler.state.size() == 3'000; }));
    stream->end(grpc::Status::OK);
    // The next stream fails on the list of a hundred kilobytes, the one after it comes without.
    std::optional<DeltaDiscoveryRequest> first;
    while (!first) {
        stream = w.server->stream();
        first = stream->next();
    }
    CHECK(w.client->stats().attempts >= 3);
    CHECK(versions(*first).empty());
    items.resize(10);
    stream->send(response(kAddress, "2", items));
    REQUIRE(w.handler.wait_for([&] { return w.handler.seen.size() == 2; }));
    CHECK(w.handler.seen.at(1).removed.size() == 2'990);
    CHECK(w.handler.state.size() == 10);
    // And short lists are sent again.
    stream->end(grpc::Status::OK);
    CHECK(versions(w.server->stream()->take()).size() == 10);
}

TEST_CASE("xds client: a huge response arrives whole, in one piece of memory") {
    XdsWorld w;
    std::string* const body = new std::string(1000, 'x');
    std::vector<Item> items;
    for (int i = 0; i < 30'000; ++i) items.push_back({"workload-" + std::to_string(i), "1", *body});
    delete body;
    size_t bytes = 0;
    const uint8_t* lowest = nullptr;
    const uint8_t* highest = nullptr;
    w.handler.reject = [&](const xds::Resource& r) {
        bytes += r.body.size();
        if (lowest == nullptr || r.body.data() < lowest) lowest = r.body.data();
        if (r.body.data() > highest) highest = r.body.data();
        return std::string("measured only");
    };
    w.start();
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    stream->send(response(kAddress, "1", items));
    CHECK(stream->take().response_nonce() == "1");
    CHECK(bytes == 30'000'000);
    CHECK(highest - lowest < 33'000'000);
}

TEST_CASE("xds client: a message over the limit ends the stream with an error, not the process") {
    XdsWorld w;
    auto options = w.options();
    options.max_message_bytes = 100'000;
    w.start(std::move(options));
    auto stream = w.server->stream();
    answer_first(*stream);
    stream->send(response(kAddress, "1", {{"a", "1", std::string(200'000, 'x')}}));
    REQUIRE(w.handler.wait_for([&] { return !w.handler.ends.empty(); }));
    CHECK(w.handler.end_at(0).first == xds::Termination::Error);
    CHECK(w.handler.end_at(0).second.find("RESOURCE_EXHAUSTED") != std::string::npos);
    answer_first(*w.server->stream());
}

TEST_CASE("xds client: bad settings are errors that name them") {
    XdsWorld w;
    const auto error = [&](const std::function<void(xds::ClientOptions&)>& change) {
        auto options = w.options();
        change(options);
        const auto made = xds::Client::create(std::move(options), w.handler);
        return made ? std::string("no error") : made.error().message();
    };
    CHECK(error([](auto&) {}) == "no error");
    CHECK(error([](auto& o) { o.address = "http://istiod:15010"; }).find("XDS_ADDRESS") != std::string::npos);
    CHECK(error([](auto& o) { o.roots = {}; }).find("XDS_ROOT_CA") != std::string::npos);
    CHECK(error([](auto& o) { o.cluster_id = "a\nb"; }).find("cluster id") != std::string::npos);
    CHECK(error([](auto& o) { o.headers = {{"bad name", "x"}}; }).find("XDS_HEADER_bad name") != std::string::npos);
    CHECK(error([](auto& o) { o.types = {}; }).find("no types") != std::string::npos);
    CHECK(error([](auto& o) { o.types = {{"t"}, {"t"}}; }).find("twice") != std::string::npos);
}
