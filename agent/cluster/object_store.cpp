// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/object_store.h"

#include <utility>

namespace warren::cluster {

namespace {

// Calls f with the list of the kind, in as many Objects as are given.
template <class F, class... O>
auto with_list(ObjectKind kind, F f, O&... objects) {
    switch (kind) {
        case ObjectKind::Pod: return f(objects.pods...);
        case ObjectKind::Node: return f(objects.nodes...);
        case ObjectKind::Namespace: return f(objects.namespaces...);
        case ObjectKind::Service: return f(objects.services...);
        case ObjectKind::EndpointSlice: return f(objects.slices...);
        case ObjectKind::WorkloadEntry: return f(objects.workload_entries...);
        case ObjectKind::ServiceEntry: return f(objects.service_entries...);
        case ObjectKind::Gateway: return f(objects.gateways...);
        case ObjectKind::GatewayClass: return f(objects.gateway_classes...);
        case ObjectKind::AuthorizationPolicy: return f(objects.authorization_policies...);
        case ObjectKind::PeerAuthentication: break;
    }
    return f(objects.peer_authentications...);
}

}  // namespace

std::string_view to_string(ObjectKind kind) noexcept {
    constexpr std::array<std::string_view, kObjectKinds> kNames = {
        "Pod",     "Node",         "Namespace",           "Service",           "EndpointSlice", "WorkloadEntry", "ServiceEntry",
        "Gateway", "GatewayClass", "AuthorizationPolicy", "PeerAuthentication"};
    return kNames[static_cast<size_t>(kind)];
}

bool ObjectStore::holds(ObjectKind kind, const Objects& fragment) const {
    const Index& index = index_[static_cast<size_t>(kind)];
    return with_list(
        kind,
        [&](const auto& all, const auto& given) {
            if (given.size() != 1) return false;
            const auto at = index.find(given.front().meta.key());
            return at != index.end() && all[at->second] == given.front();
        },
        objects_, fragment);
}

bool ObjectStore::upsert(ObjectKind kind, Objects& fragment) {
    Index& index = index_[static_cast<size_t>(kind)];
    return with_list(
        kind,
        [&](auto& all, auto& given) {
            if (given.size() != 1) return false;
            const auto [at, fresh] = index.emplace(given.front().meta.key(), all.size());
            if (fresh)
                all.push_back(std::move(given.front()));
            else
                all[at->second] = std::move(given.front());
            given.clear();
            return true;
        },
        objects_, fragment);
}

// The last object takes the place of the one that goes: the conversion does not depend on the order.
bool ObjectStore::remove(ObjectKind kind, const std::string& key) {
    Index& index = index_[static_cast<size_t>(kind)];
    const auto found = index.find(key);
    if (found == index.end()) return false;
    const size_t at = found->second;
    index.erase(found);
    with_list(
        kind,
        [&](auto& all) {
            if (at + 1 != all.size()) {
                all[at] = std::move(all.back());
                index[all[at].meta.key()] = at;
            }
            all.pop_back();
        },
        objects_);
    return true;
}

}  // namespace warren::cluster
