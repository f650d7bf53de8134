// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/mesh_view.h"

#include "agent/cluster/gateway_status.h"
#include "agent/cluster/keys.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

void MeshView::clear() {
    services_.clear();
    policies_.clear();
    listed_.clear();
}

bool MeshView::of_revision(const ObjectMeta& meta) const {
    return in_mesh(meta) && (!has_label(meta.labels, keys::kRevision) || label(meta.labels, keys::kRevision) == settings_.revision);
}

bool MeshView::look(const Objects& objects) {
    namespaces_.clear();
    nodes_.clear();
    std::set<std::string, std::less<>> discovered;
    for (const Namespace& ns : objects.namespaces) {
        namespaces_.emplace(ns.meta.name, &ns);
        if (std::any_of(settings_.discovery.begin(), settings_.discovery.end(),
                        [&](const LabelSelector& s) { return s.matches(ns.meta.labels); }))
            discovered.insert(ns.meta.name);
    }
    for (const KubeNode& node : objects.nodes) nodes_.emplace(node.meta.name, &node);
    std::string network;
    if (const auto system = namespaces_.find(settings_.system_namespace); system != namespaces_.end())
        network = label(system->second->meta.labels, keys::kNetwork);
    if (settings_.network) network = *settings_.network;
    const bool same = network == network_ && discovered == discovered_;
    network_ = std::move(network);
    discovered_ = std::move(discovered);
    return same;
}

bool MeshView::look_at_gateways(const Objects& objects, std::set<std::string, std::less<>>& waypoints) {
    std::vector<const Gateway*> gateways;
    for (const Gateway& gateway : objects.gateways)
        if (in_mesh(gateway.meta)) gateways.push_back(&gateway);
    std::sort(gateways.begin(), gateways.end(), [](const Gateway* a, const Gateway* b) { return older(a->meta, b->meta); });
    std::vector<NetworkGateway> network_gateways;
    for (const Gateway* gateway : gateways) add_network_gateways(*gateway, network_gateways);
    auto now = std::make_unique<Waypoints>(gateways, objects.gateway_classes, namespaces_, network_);
    const bool same = waypoints_ != nullptr && network_gateways == gateways_;
    if (same) waypoints = Waypoints::difference(*waypoints_, *now);
    waypoints_ = std::move(now);
    gateways_ = std::move(network_gateways);
    return same;
}

void MeshView::list(const std::string& pod, const std::string& slice, const std::string& service) {
    listed_[pod].emplace_back(slice, service);
}

void MeshView::unlist(const std::string& pod, const std::string& slice) {
    const auto found = listed_.find(pod);
    if (found == listed_.end()) return;
    std::erase_if(found->second, [&](const auto& entry) { return entry.first == slice; });
    if (found->second.empty()) listed_.erase(found);
}

void MeshView::add_network_gateways(const Gateway& gateway, std::vector<NetworkGateway>& to) const {
    const std::string_view network = label(gateway.meta.labels, keys::kNetwork);
    const Listener* hbone = hbone_listener(gateway);
    if (!leads_elsewhere(gateway) || network.empty() || hbone == nullptr) return;
    std::string account(label(gateway.meta.annotations, keys::kGatewayAccount));
    if (account.empty()) account = gateway.meta.name + '-' + gateway.class_name;
    for (const GatewayAddress& address : gateway.spec_addresses)
        if (!address.value.empty())  // one that is still to be assigned leads nowhere
            to.push_back({std::string(network), gateway.meta.ns, account, gateway.meta.where, address.value, hbone->port});
}

const KubeNode* MeshView::node(std::string_view name) const {
    const auto found = nodes_.find(name);
    return found == nodes_.end() ? nullptr : found->second;
}

std::vector<const ServiceInfo*> MeshView::services_selecting(const std::string& ns, const LabelMap& labels) const {
    std::vector<const ServiceInfo*> out;
    services_.each_selecting(ns, labels, [&](const ServiceInfo& service) { out.push_back(&service); });
    return out;
}

std::vector<const ServiceInfo*> MeshView::services_listing(const Pod& pod) const {
    std::vector<const ServiceInfo*> out;
    if (listed_.empty()) return out;
    const auto found = listed_.find(pod.meta.key() + '/' + pod.meta.uid);
    if (found == listed_.end()) return out;
    for (const auto& [slice, key] : found->second)
        if (const ServiceInfo* s = service(key); s != nullptr && s->from_service && s->selector.empty()) out.push_back(s);
    return out;
}

std::vector<const ServiceInfo*> MeshView::services_of(const ServiceEntry& entry) const {
    std::vector<const ServiceInfo*> out;
    std::set<std::string_view> seen;
    for (const std::string& host : entry.hosts) {
        const ServiceInfo* found = service(entry.meta.ns + '/' + host);
        if (found != nullptr && !found->from_service && found->sent.name() == entry.meta.name && seen.insert(host).second)
            out.push_back(found);
    }
    return out;
}

const NetworkGateway* MeshView::gateway_to(std::string_view network) const {
    const auto found = std::find_if(gateways_.begin(), gateways_.end(), [&](const NetworkGateway& g) { return g.network == network; });
    return network.empty() || found == gateways_.end() ? nullptr : &*found;
}

}  // namespace warren::cluster
