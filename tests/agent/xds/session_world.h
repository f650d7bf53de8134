// SPDX-License-Identifier: Apache-2.0
// A server session without a server: what is published, requests as a client makes them, responses read back. One thread.
#pragma once

#include "agent/xds/client_session.h"
#include "agent/xds/response.h"
#include "proto/xds.pb.h"
#include "tests/catch.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tests {

inline constexpr std::string_view kType = "type.example/Addresses";
using Bodies = std::map<std::string, std::string>;  // name to "version/body"
using Names = std::set<std::string>;

struct Ask {
    bool node = false;
    std::optional<std::string> node_id = {};
    std::string type = std::string(kType);  // "-": none
    std::vector<std::string> subscribe = {}, unsubscribe = {};
    std::map<std::string, std::string> versions = {};
    std::string nonce = {};
    std::optional<std::string> error = {};
};

struct Got {
    std::string type, nonce;
    Bodies resources;
    Names removed, aliases;
    size_t size = 0;
};

inline std::string to_bytes(const Ask& ask) {
    envoy::service::discovery::v3::DeltaDiscoveryRequest made;
    if (ask.node || ask.node_id) {
        made.mutable_node()->set_id(ask.node_id.value_or("ztunnel~10.0.0.7~ztunnel-x.istio-system~istio-system.svc.cluster.local"));
        (*made.mutable_node()->mutable_metadata()->mutable_fields())["NODE_NAME"].set_string_value("n1");
    }
    if (ask.type != "-") made.set_type_url(ask.type);
    for (const auto& name : ask.subscribe) made.add_resource_names_subscribe(name);
    for (const auto& name : ask.unsubscribe) made.add_resource_names_unsubscribe(name);
    for (const auto& [name, version] : ask.versions) (*made.mutable_initial_resource_versions())[name] = version;
    made.set_response_nonce(ask.nonce);
    if (ask.error) made.mutable_error_detail()->set_message(*ask.error);
    return made.SerializeAsString();
}

inline Got read_back(const xds::Outgoing& out) {
    envoy::service::discovery::v3::DeltaDiscoveryResponse response;
    REQUIRE(response.ParseFromString(*out.body + out.tail));
    Got got{response.type_url(), response.nonce(), {}, {}, {}, out.size()};
    for (const auto& resource : response.resources()) {
        CHECK(resource.resource().type_url() == response.type_url());
        CHECK(got.resources.emplace(resource.name(), resource.version() + "/" + resource.resource().value()).second);
        got.aliases.insert(resource.aliases().begin(), resource.aliases().end());
    }
    for (const auto& name : response.removed_resources()) CHECK(got.removed.insert(name).second);
    return got;
}

struct SessionWorld {
    explicit SessionWorld(size_t cache_bytes = 1 << 20) : cache(cache_bytes) {
        published.resize(2);
        published[0].type_url = kType;
        published[1].type_url = "type.example/Policies";
        for (size_t i = 0; i < 2; ++i) published[i].index = i, published[i].generation = ++generations;
    }

    void set(const std::string& name, const std::string& version, const std::string& body, std::vector<std::string> aliases = {},
             std::vector<std::string> groups = {}) {
        REQUIRE(addresses.set({name, version, base::as_bytes(body), std::move(aliases), std::move(groups)}));
    }
    void erase(const std::string& name) { REQUIRE(addresses.erase(name)); }
    void publish() {
        published[0].set = addresses;
        published[0].generation = ++generations;
    }
    base::Result<void> try_request(const Ask& ask, xds::ClientSession& to) {
        return to.on_request(base::as_bytes(to_bytes(ask)), published);
    }
    base::Result<void> try_request(const Ask& ask) { return try_request(ask, session); }
    void request(const Ask& ask) {
        const auto made = try_request(ask);
        INFO((made ? "" : made.error().message()));
        REQUIRE(made);
    }
    void on_demand() {
        request({.node = true, .subscribe = {"*"}, .unsubscribe = {"*"}});
        ack(take());
    }
    Got take() {
        const auto out = session.next(published, {});
        REQUIRE(out);
        return read_back(*out);
    }
    bool more() { return session.next(published, {}).has_value(); }
    void ack(const Got& got) { request({.type = got.type, .nonce = got.nonce}); }

    xds::SessionOptions options{.max_names = 1'000};
    xds::EncodingCache cache;
    xds::Published published;
    xds::ResourceSet addresses;
    uint64_t generations = 0;
    xds::ClientSession session{options, cache};
};

}  // namespace warren::tests
