// SPDX-License-Identifier: Apache-2.0
// Names asked for one by one (data-plane contract 3.1, 3.3, 3.6).
#include "tests/agent/xds/fake_xds_server.h"
#include "tests/catch.h"

#include <algorithm>

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;

namespace {

using Names = std::vector<std::string>;

xds::ClientOptions on_demand(XdsWorld& w) {
    auto options = w.options();
    options.types = {{kAddress, true}, {kAuthorization}};
    return options;
}

base::Result<void> ask(xds::Client& client, const Names& names) { return client.subscribe(kAddress, names); }

}  // namespace

TEST_CASE("xds client: test_on_demand_handling: '*' is subscribed and unsubscribed for Address, Authorization is plain") {
    XdsWorld w;
    w.start(on_demand(w));
    const auto stream = w.server->stream();
    const auto address = stream->take();
    CHECK(address.type_url() == kAddress);
    CHECK(subscribed(address) == Names{"*"});
    CHECK(unsubscribed(address) == Names{"*"});
    CHECK(address.has_node());
    const auto authorization = stream->take();
    CHECK(subscribed(authorization).empty());
    CHECK(unsubscribed(authorization).empty());
    // Ready without any address.
    CHECK_FALSE(w.client->synced());
    stream->send(response(kAuthorization, "1", {}));
    REQUIRE(w.handler.wait_for([&] { return w.handler.synced_types.size() == 1; }));
    CHECK(w.client->synced());
    stream->take();
    REQUIRE(ask(*w.client, {"/10.0.0.1", "ns/host"}));
    const auto demand = stream->take();
    CHECK(demand.type_url() == kAddress);
    CHECK(subscribed(demand) == Names{"/10.0.0.1", "ns/host"});
    CHECK(unsubscribed(demand).empty());
    CHECK_FALSE(demand.has_node());
    CHECK(demand.response_nonce().empty());
    stream->send(response(kAddress, "2", {{"uid", "7", "w"}}, {"ns/host"}));
    CHECK(stream->take().response_nonce() == "2");
    CHECK(w.handler.state.count("uid") == 1);
    CHECK(w.handler.seen.back().removed == Names{"ns/host"});
}

TEST_CASE("xds client: names asked for without a stream are listed by the next one, with no version") {
    XdsWorld w;
    auto options = on_demand(w);
    auto made = xds::Client::create(std::move(options), w.handler);
    REQUIRE(made);
    w.client = std::move(*made);
    REQUIRE(ask(*w.client, {"early"}));
    w.client->start();
    auto stream = w.server->stream();
    CHECK(versions(stream->take()) == std::map<std::string, std::string>{{"early", ""}});
    stream->take();
    stream->send(response(kAddress, "1", {{"early", "5", "x"}}));
    stream->take();
    // Asked, sent, not answered: listed again; never in the place of a version known.
    REQUIRE(ask(*w.client, {"early", "late"}));
    CHECK(subscribed(stream->take()) == Names{"early", "late"});
    CHECK(stream->quiet_for(50ms));
    stream->end({grpc::StatusCode::UNAVAILABLE, "transport is closing"});
    stream = w.server->stream();
    const auto again = stream->take();
    CHECK(versions(again) == std::map<std::string, std::string>{{"early", "5"}, {"late", ""}});
    CHECK(subscribed(again) == Names{"*"});
    CHECK(unsubscribed(again) == Names{"*"});
    // Answered as not there: no longer listed.
    stream->take();
    stream->send(response(kAddress, "2", {}, {"late"}));
    stream->take();
    stream->end(grpc::Status::OK);
    CHECK(versions(w.server->stream()->take()) == std::map<std::string, std::string>{{"early", "5"}});
}

TEST_CASE("xds client: names no longer needed are unsubscribed and forgotten, the last wish counts") {
    XdsWorld w;
    w.start(on_demand(w));
    auto stream = w.server->stream();
    stream->take(), stream->take();
    REQUIRE(ask(*w.client, {"a", "b"}));
    CHECK(subscribed(stream->take()).size() == 2);
    stream->send(response(kAddress, "1", {{"a", "1", ""}, {"b", "1", ""}}));
    stream->take();
    REQUIRE(w.client->unsubscribe(kAddress, Names{"a"}));
    const auto request = stream->take();
    CHECK(unsubscribed(request) == Names{"a"});
    CHECK(subscribed(request).empty());
    stream->end(grpc::Status::OK);
    CHECK(versions(w.server->stream()->take()) == std::map<std::string, std::string>{{"b", "1"}});
}

TEST_CASE("xds client: many names in one breath go out in few requests") {
    XdsWorld w;
    w.start(on_demand(w));
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    Names names;
    for (int i = 0; i < 5'000; ++i) names.push_back("/10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    for (const auto& name : names) REQUIRE(ask(*w.client, {name}));
    Names got;
    int requests = 0;
    while (got.size() < names.size()) {
        const auto more = subscribed(stream->take());
        got.insert(got.end(), more.begin(), more.end());
        ++requests;
    }
    std::sort(got.begin(), got.end());
    std::sort(names.begin(), names.end());
    CHECK(got == names);
    CHECK(requests < 5'000);
}

TEST_CASE("xds client: the names that wait are bounded, and bad ones are refused") {
    XdsWorld w;
    auto options = on_demand(w);
    options.max_pending_names = 3;
    auto made = xds::Client::create(std::move(options), w.handler);
    REQUIRE(made);
    xds::Client& client = **made;
    REQUIRE(ask(client, {"a", "b"}));
    REQUIRE(ask(client, {"a", "b", "c"}));
    const auto full = ask(client, {"c", "d"});
    REQUIRE_FALSE(full);
    CHECK(full.error().code == base::Errc::Exhausted);
    CHECK(client.stats().dropped_names == 2);
    CHECK_FALSE(client.subscribe(kAuthorization, Names{"ns/p"}));
    CHECK_FALSE(client.subscribe("type", Names{"ns/p"}));
    for (const char* bad : {"", "*", "caf\xe9"}) CHECK_FALSE(ask(client, {bad}));
}

TEST_CASE("xds client: test_on_demand_cache_coherency: 10,000 answers, each applied before it can be waited for") {
    XdsWorld w;
    w.start(on_demand(w));
    const auto stream = w.server->stream();
    stream->take(), stream->take();
    Names names;
    std::vector<Item> items;
    for (int i = 0; i < 10'000; ++i) {
        names.push_back("workload-" + std::to_string(i));
        items.push_back({names.back(), "1", "body"});
    }
    REQUIRE(ask(*w.client, names));
    CHECK(subscribed(stream->take()).size() == 10'000);
    stream->send(response(kAddress, "1", items));
    // One update: nobody sees a part of it, and the ACK comes after it.
    CHECK(stream->take().response_nonce() == "1");
    CHECK(w.handler.seen.size() == 1);
    CHECK(w.handler.state.size() == 10'000);
    CHECK(w.client->stats().types[0].held == 10'000);
}
