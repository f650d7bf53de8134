// SPDX-License-Identifier: Apache-2.0
// What a client is owed, without a socket (Kubernetes contract 5.3, 5.4; data-plane contract 3.1, 3.3, 3.6).
#include "agent/xds/client_session.h"
#include "agent/xds/response.h"
#include "proto/xds.pb.h"
#include "tests/agent/xds/session_world.h"
#include "tests/catch.h"

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;

TEST_CASE("xds session: a wildcard client gets everything in one message, then the differences") {
    SessionWorld w;
    w.set("a", "1", "body a"), w.set("b", "2", "body b");
    w.publish();
    w.request({.node = true});
    auto got = w.take();
    CHECK(got.type == kType);
    CHECK(got.resources == Bodies{{"a", "1/body a"}, {"b", "2/body b"}});
    CHECK(got.removed.empty());
    CHECK_FALSE(w.more());
    w.ack(got);
    CHECK_FALSE(w.more());

    w.set("b", "3", "body b2"), w.set("c", "1", "body c"), w.erase("a");
    w.publish();
    got = w.take();
    CHECK(got.resources == Bodies{{"b", "3/body b2"}, {"c", "1/body c"}});
    CHECK(got.removed == Names{"a"});
}

TEST_CASE("xds session: an empty state is answered, an empty push is not sent") {
    SessionWorld w;
    w.publish();
    w.request({.node = true});
    const auto got = w.take();
    CHECK(got.resources.empty());
    w.ack(got);
    w.set("a", "1", "x"), w.erase("a");
    w.publish();
    CHECK_FALSE(w.more());
}

TEST_CASE("xds session: one response is under way; what changes meanwhile comes as one difference after the answer") {
    SessionWorld w;
    w.set("a", "1", "x");
    w.publish();
    w.request({.node = true});
    const auto first = w.take();
    for (int i = 2; i < 50; ++i) {
        w.set("a", std::to_string(i), "x");
        w.set("n" + std::to_string(i), "1", "y");
        w.publish();
        CHECK_FALSE(w.more());
    }
    w.erase("n2");
    w.publish();
    w.request({.nonce = "of another stream"});
    CHECK_FALSE(w.more());
    w.ack(first);
    const auto second = w.take();
    CHECK(second.resources.size() == 48);
    CHECK(second.resources.at("a") == "49/x");
    CHECK(second.removed.empty());  // n2 came and went
    CHECK(second.nonce != first.nonce);
}

TEST_CASE("xds session: a NACK is recorded and nothing is sent again before it changes") {
    SessionWorld w;
    w.set("a", "1", "x");
    w.publish();
    w.request({.node = true});
    const auto got = w.take();
    w.request({.nonce = got.nonce, .error = "a: bad\x01thing"});
    CHECK(w.session.nack() == std::string(kType) + ": a: bad?thing");
    CHECK_FALSE(w.more());
    const auto status = w.session.status().at(0);
    CHECK(status.nacks == 1);
    CHECK(status.last_nack == "a: bad?thing");
    CHECK_FALSE(status.pending);
    w.set("a", "2", "x");
    w.publish();
    CHECK(w.take().resources == Bodies{{"a", "2/x"}});
}

TEST_CASE("xds session: a client that comes back gets what differs from its list, and what is gone") {
    SessionWorld w;
    w.set("same", "1", "x"), w.set("changed", "2", "x"), w.set("new", "1", "x"), w.set("policy", "", "x");
    w.publish();
    w.request({.node = true, .versions = {{"same", "1"}, {"changed", "1"}, {"gone", "7"}, {"policy", ""}}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"changed", "2/x"}, {"new", "1/x"}, {"policy", "/x"}});
    CHECK(got.removed == Names{"gone"});
    w.ack(got);
    w.erase("same");
    w.publish();
    CHECK(w.take().removed == Names{"same"});
}

TEST_CASE("xds session: what comes back before the first answer is not removed by the old list") {
    SessionWorld w;
    w.publish();
    w.request({.node = true, .versions = {{"policy", "1"}}});
    w.set("policy", "1", "x");  // re-created while the client reconnected
    w.publish();
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"policy", "1/x"}});
    CHECK(got.removed.empty());
}

TEST_CASE("xds session: on demand, nothing until names are asked; unknown ones are answered as removed") {
    SessionWorld w;
    w.set("uid-1", "1", "x", {"net/10.0.0.1"}), w.set("uid-2", "1", "y", {"net/10.0.0.2"});
    w.publish();
    w.request({.node = true, .subscribe = {"*"}, .unsubscribe = {"*"}});
    const auto first = w.take();
    CHECK(first.resources.empty());
    w.ack(first);
    w.request({.subscribe = {"net/10.0.0.1", "net/10.0.0.9", "uid-2"}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"uid-1", "1/x"}, {"uid-2", "1/y"}});
    CHECK(got.aliases == Names{"net/10.0.0.1", "net/10.0.0.2"});
    CHECK(got.removed == Names{"net/10.0.0.9"});
    w.ack(got);
    // Asked again: answered again, for somebody waits.
    w.request({.subscribe = {"uid-2"}});
    const auto again = w.take();
    CHECK(again.resources == Bodies{{"uid-2", "1/y"}});
    w.ack(again);
    // Created later, changed, removed.
    w.set("uid-9", "1", "z", {"net/10.0.0.9"}), w.set("uid-8", "1", "z", {"net/10.0.0.8"}), w.set("uid-1", "2", "x", {"net/10.0.0.1"});
    w.publish();
    const auto later = w.take();
    CHECK(later.resources == Bodies{{"uid-9", "1/z"}, {"uid-1", "2/x"}});
    CHECK(later.removed.empty());
    w.ack(later);
    w.erase("uid-2"), w.erase("uid-8");
    w.publish();
    CHECK(w.take().removed == Names{"uid-2"});
}

TEST_CASE("xds session: trap 29: on demand, an address that another pod takes over: one removed, one added") {
    SessionWorld w;
    w.set("old", "1", "x", {"net/10.0.0.1"});
    w.publish();
    w.on_demand();
    w.request({.subscribe = {"net/10.0.0.1"}});
    w.ack(w.take());
    for (int round = 0; round < 1'000; ++round) {
        const std::string from = round == 0 ? "old" : "pod-" + std::to_string(round - 1), to = "pod-" + std::to_string(round);
        w.erase(from), w.set(to, "1", "x", {"net/10.0.0.1"});
        w.publish();
        const auto got = w.take();
        REQUIRE(got.resources == Bodies{{to, "1/x"}});
        REQUIRE(got.removed == Names{from});
        w.ack(got);
    }
    CHECK(w.session.status().at(0).held == 1);
    CHECK(w.session.status().at(0).names == 1);
}

TEST_CASE("xds session: on demand, a service brings its workloads, by name and by address") {
    const std::string key = GENERATE("ns/web.ns.svc", "net/10.96.0.1");
    SessionWorld w;
    w.set("ns/web.ns.svc", "1", "service", {"net/10.96.0.1"});
    w.set("pod-1", "1", "p", {"net/10.0.0.1"}, {"ns/web.ns.svc"}), w.set("pod-2", "1", "p", {"net/10.0.0.2"}, {"ns/other.ns.svc"});
    w.publish();
    w.on_demand();
    w.request({.subscribe = {key}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"ns/web.ns.svc", "1/service"}, {"pod-1", "1/p"}});
    CHECK(got.removed.empty());
    w.ack(got);
    w.set("pod-3", "1", "p", {}, {"ns/web.ns.svc"});
    w.publish();
    const auto more = w.take();
    CHECK(more.resources == Bodies{{"pod-3", "1/p"}});
    w.ack(more);
    // Taken back: no word of any of them.
    w.request({.unsubscribe = {key}});
    w.set("pod-1", "2", "p", {}, {"ns/web.ns.svc"}), w.erase("pod-3"), w.set("ns/web.ns.svc", "2", "service", {"net/10.96.0.1"});
    w.publish();
    CHECK_FALSE(w.more());
    CHECK(w.session.status().at(0).held == 0);
}

TEST_CASE("xds session: on demand, a service that appears or moves to a wanted address brings its workloads") {
    SessionWorld w;
    w.set("pod-1", "1", "p", {}, {"ns/web"});
    w.publish();
    w.on_demand();
    w.request({.subscribe = {"net/10.96.0.1"}});
    const auto none = w.take();
    CHECK(none.removed == Names{"net/10.96.0.1"});
    w.ack(none);
    w.set("ns/web", "1", "s", {"net/10.96.0.7"});
    w.publish();
    CHECK_FALSE(w.more());
    w.set("ns/web", "2", "s", {"net/10.96.0.1"});
    w.publish();
    CHECK(w.take().resources == Bodies{{"ns/web", "2/s"}, {"pod-1", "1/p"}});
}

TEST_CASE("xds session: on demand, a group by its name, without the members of its members") {
    SessionWorld w;
    w.set("ns/web", "1", "s", {}, {"warren:services"}), w.set("ns/db", "1", "s", {}, {"warren:services"});
    w.set("pod-1", "1", "p", {}, {"ns/web"});
    w.publish();
    w.on_demand();
    w.request({.subscribe = {"warren:services"}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"ns/web", "1/s"}, {"ns/db", "1/s"}});
    w.ack(got);
    w.set("ns/new", "1", "s", {}, {"warren:services"}), w.erase("ns/db"), w.set("pod-2", "1", "p", {}, {"ns/web"});
    w.publish();
    const auto more = w.take();
    CHECK(more.resources == Bodies{{"ns/new", "1/s"}});
    CHECK(more.removed == Names{"ns/db"});
}

TEST_CASE("xds session: on demand, the list of a client that comes back is what it is subscribed to") {
    SessionWorld w;
    w.set("same", "1", "x"), w.set("changed", "2", "x"), w.set("waited", "1", "x", {"net/1"}), w.set("never asked", "1", "x");
    w.publish();
    w.request({.node = true,
               .subscribe = {"*"},
               .unsubscribe = {"*"},
               .versions = {{"same", "1"}, {"changed", "1"}, {"gone", "1"}, {"net/1", ""}, {"net/2", ""}}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"changed", "2/x"}, {"waited", "1/x"}});
    CHECK(got.removed == Names{"gone", "net/2"});
    w.ack(got);
    w.set("same", "2", "x");
    w.publish();
    CHECK(w.take().resources == Bodies{{"same", "2/x"}});
}

TEST_CASE("xds session: on demand, members of a group in the list of a client that comes back do not bring members of their own") {
    SessionWorld w;
    w.set("ns/web", "1", "s", {}, {"warren:services"}), w.set("ns/db", "1", "s", {}, {"warren:services"});
    w.set("pod", "1", "p", {}, {"ns/web"});
    w.publish();
    w.request(
        {.node = true, .subscribe = {"*"}, .unsubscribe = {"*"}, .versions = {{"ns/gone", "1"}, {"ns/web", "1"}, {"warren:services", ""}}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"ns/db", "1/s"}, {"ns/web", "1/s"}});
    CHECK(got.removed == Names{"ns/gone"});
    w.ack(got);
    w.set("pod", "2", "p", {}, {"ns/web"}), w.erase("ns/db");
    w.publish();
    const auto more = w.take();
    CHECK(more.resources.empty());
    CHECK(more.removed == Names{"ns/db"});
    w.ack(more);
    w.request({.subscribe = {"ns/web"}});
    CHECK(w.take().resources == Bodies{{"ns/web", "1/s"}, {"pod", "2/p"}});
}

TEST_CASE("xds session: on demand, a node's own workloads come without asking") {
    SessionWorld w;
    w.options.implied = [](const xds::NodeInfo& node, std::string_view) {
        return std::vector<std::string>{"node:" + node.metadata.at("NODE_NAME")};
    };
    w.set("here", "1", "x", {}, {"node:n1"}), w.set("there", "1", "x", {}, {"node:n2"});
    w.publish();
    w.request({.node = true, .subscribe = {"*"}, .unsubscribe = {"*"}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"here", "1/x"}});
    CHECK(got.removed.empty());
}

TEST_CASE("xds session: wildcard and names together: names are answered even when nothing changed") {
    SessionWorld w;
    w.set("a", "1", "x");
    w.publish();
    w.request({.node = true, .subscribe = {"*", "a", "missing"}});
    const auto got = w.take();
    CHECK(got.resources == Bodies{{"a", "1/x"}});
    CHECK(got.removed == Names{"missing"});
    w.ack(got);
    w.request({.subscribe = {"a"}});
    const auto again = w.take();
    CHECK(again.resources == Bodies{{"a", "1/x"}});
    w.ack(again);
    // Without the star only the name is left.
    w.request({.unsubscribe = {"*"}});
    w.set("b", "1", "x");
    w.publish();
    CHECK_FALSE(w.more());
    w.set("a", "2", "x");
    w.publish();
    CHECK(w.take().resources == Bodies{{"a", "2/x"}});
}

TEST_CASE("xds session: a response larger than the client takes goes in several, each after the answer to the one before") {
    SessionWorld w;
    w.options.max_message_bytes = 10'000;
    for (int i = 0; i < 100; ++i) w.set("name-" + std::to_string(i), "1", std::string(500, 'x'));
    w.publish();
    w.request({.node = true});
    size_t got = 0, messages = 0;
    while (got < 100) {
        const auto message = w.take();
        CHECK(message.size <= 10'100);
        got += message.resources.size();
        ++messages;
        CHECK_FALSE(w.more());
        w.ack(message);
    }
    CHECK(got == 100);
    CHECK(messages >= 5);
    CHECK_FALSE(w.more());
}

TEST_CASE("xds session: Address goes before Authorization, an unknown type is answered with nothing") {
    SessionWorld w;
    w.publish();
    w.request({.node = true, .type = "type.example/Policies"});
    w.request({.type = std::string(kType)});
    w.request({.type = "type.example/Unknown"});
    CHECK(w.take().type == kType);
    CHECK(w.take().type == "type.example/Policies");
    const auto last = w.take();
    CHECK(last.type == "type.example/Unknown");
    CHECK(last.resources.empty());
    CHECK_FALSE(w.more());
}

TEST_CASE("xds session: bad requests are errors that say what is wrong") {
    SessionWorld w;
    w.publish();
    const auto error = [&](const Ask& ask) {
        const auto made = w.try_request(ask);
        REQUIRE_FALSE(made);
        return made.error().detail;
    };
    CHECK(error({}) == "the first request carries no node");
    CHECK(error({.node_id = ""}) == "node.id is empty");
    CHECK(error({.node_id = "ztunnel~1.2.3.4~x"}).find("not TYPE~IP~ID~DOMAIN") != std::string::npos);
    CHECK(error({.node_id = "pirate~1.2.3.4~x~y"}).find("unknown type 'pirate'") != std::string::npos);
    CHECK(error({.node_id = "ztunnel~nowhere~x~y"}).find("no IP address") != std::string::npos);
    CHECK(error({.node = true, .type = "-"}) == "a request without a type_url");
    CHECK(error({.node = true, .subscribe = {std::string(5'000, 'x')}}).find("longer than 4096") != std::string::npos);
    CHECK(error({.node = true, .subscribe = std::vector<std::string>(1'001, "x")}).find("more than 1000 names") != std::string::npos);
    const std::string damaged = "\x0a\xff";
    CHECK_FALSE(w.session.on_request(base::as_bytes(damaged), w.published));
    w.request({.node = true, .subscribe = {"*"}, .unsubscribe = {"*"}});
    std::vector<std::string> names;
    for (int i = 0; i < 900; ++i) names.push_back("n" + std::to_string(i));
    w.request({.subscribe = names});
    for (auto& name : names) name += "x";
    CHECK(error({.subscribe = names}).find("more than 1000 names of") != std::string::npos);
}

TEST_CASE("xds session: two clients that are owed the same are sent the same memory") {
    SessionWorld w;
    for (int i = 0; i < 100; ++i) w.set("name-" + std::to_string(i), "1", "x");
    w.publish();
    xds::ClientSession other(w.options, w.cache);
    w.request({.node = true});
    REQUIRE(w.try_request({.node = true}, other));
    const auto a = w.session.next(w.published, {});
    const auto b = other.next(w.published, {});
    REQUIRE((a && b));
    CHECK(a->body.get() == b->body.get());
    CHECK(w.cache.encoded() == 1);
    CHECK(w.cache.shared() == 1);
}

TEST_CASE("xds session: a full cache makes a client wait, and goes on when there is room") {
    SessionWorld w(1);
    w.set("a", "1", "x");
    w.publish();
    w.request({.node = true});
    auto held = w.session.next(w.published, {});
    REQUIRE(held);
    xds::ClientSession other(w.options, w.cache);
    REQUIRE(w.try_request({.node = true, .versions = {{"a", "0"}}}, other));
    CHECK_FALSE(other.next(w.published, {}));
    CHECK(other.deferred());
    held.reset();
    CHECK(w.cache.held_bytes() == 0);
    const auto late = other.next(w.published, {});
    REQUIRE(late);
    CHECK_FALSE(other.deferred());
}
