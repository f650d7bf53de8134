// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/mesh_view.h"

#include "agent/cluster/convert_authorization.h"
#include "agent/cluster/keys.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

MeshView::MeshView(const Objects& objects, const Settings& settings, Diagnostics& problems) : settings_(settings), problems_(problems) {
    for (const Namespace& ns : objects.namespaces) namespaces_.emplace(ns.meta.name, &ns);
    for (const KubeNode& node : objects.nodes) nodes_.emplace(node.meta.name, &node);
    if (const auto system = namespaces_.find(settings.system_namespace); system != namespaces_.end())
        network_ = label(system->second->meta.labels, keys::kNetwork);
    if (settings.network) network_ = *settings.network;
    waypoints_ = std::make_unique<Waypoints>(objects, namespaces_, network_);
    add_services(objects);
    add_slices(objects);
    add_policies(objects);
    add_gateways(objects);
}

void MeshView::add_services(const Objects& objects) {
    const ServiceContext context{settings_, *waypoints_, namespaces_, network_, problems_};
    for (const KubeService& service : objects.services)
        if (!service.external_name) services_.push_back(convert_service(service, context));
    for (const ServiceEntry& entry : objects.service_entries)
        for (ServiceInfo& service : convert_service_entry(entry, context)) services_.push_back(std::move(service));
    settle_hostnames(services_);
    for (const ServiceInfo& service : services_) {
        services_by_key_.emplace(service.key(), &service);
        if (!service.selector.empty()) services_by_ns_[service.meta->ns].push_back(&service);
    }
}

void MeshView::add_slices(const Objects& objects) {
    for (const EndpointSlice& slice : objects.slices) {
        const std::string_view name = label(slice.meta.labels, keys::kServiceName);
        if (name.empty() || slice.fqdn) continue;
        const std::string key = slice.meta.ns + '/' + service_hostname(name, slice.meta.ns, settings_);
        for (const SliceEndpoint& endpoint : slice.endpoints) {
            // A pod has a uid, and a reference without one is to no pod in particular.
            if (endpoint.is_pod && !endpoint.pod_uid.empty())
                services_by_pod_[endpoint.pod_ns + '/' + endpoint.pod_name + '/' + endpoint.pod_uid].push_back(key);
        }
    }
}

void MeshView::add_policies(const Objects& objects) {
    for (const AuthorizationPolicy& policy : objects.authorization_policies) {
        auto converted = convert_authorization(policy, settings_, problems_);
        if (!converted) continue;
        if (converted->scope() == istio::security::WORKLOAD_SELECTOR)
            policies_by_ns_[policy.meta.ns].push_back({&*policy.selector, policy.meta.key()});
        authorizations_.emplace(policy.meta.key(), std::move(*converted));
    }
    mesh_modes_ = peer_modes(objects.peer_authentications, settings_.root_namespace, settings_);
    for (const PeerAuthentication& object : objects.peer_authentications) {
        const auto [modes, fresh] = modes_by_ns_.emplace(object.meta.ns, PeerModes());
        if (fresh) modes->second = peer_modes(objects.peer_authentications, object.meta.ns, settings_);
        if (object.meta.ns == settings_.root_namespace) continue;
        auto converted = convert_peer_authentication(object, modes->second);
        if (!converted) continue;
        const std::string key = converted->namespace_() + '/' + converted->name();
        if (!authorizations_.emplace(key, std::move(*converted)).second)
            problems_.error(object.meta.where + ": PeerAuthentication " + object.meta.key() + ": its ports need the policy name " + key +
                            ", which an AuthorizationPolicy has taken; rename that one");
    }
    if (objects.peer_authentications.empty()) return;
    auto fixed = static_strict_policy(settings_);
    authorizations_.insert_or_assign(fixed.namespace_() + '/' + fixed.name(), std::move(fixed));
}

void MeshView::add_gateways(const Objects& objects) {
    for (const Gateway& gateway : objects.gateways) {
        const std::string_view network = label(gateway.meta.labels, keys::kNetwork);
        if (gateway.class_name != "istio-remote" || network.empty()) continue;
        const auto hbone = std::find_if(gateway.listeners.begin(), gateway.listeners.end(),
                                        [](const Listener& l) { return l.protocol == "HBONE" && l.port != 0; });
        if (hbone == gateway.listeners.end()) continue;
        std::string account(label(gateway.meta.annotations, keys::kGatewayAccount));
        if (account.empty()) account = gateway.meta.name + '-' + gateway.class_name;
        for (const GatewayAddress& address : gateway.spec_addresses)
            gateways_.push_back({std::string(network), gateway.meta.ns, account, gateway.meta.where, address.value, hbone->port});
    }
}

const KubeNode* MeshView::node(std::string_view name) const {
    const auto found = nodes_.find(name);
    return found == nodes_.end() ? nullptr : found->second;
}

const ServiceInfo* MeshView::service(std::string_view key) const {
    const auto found = services_by_key_.find(key);
    return found == services_by_key_.end() ? nullptr : found->second;
}

std::vector<const ServiceInfo*> MeshView::services_selecting(std::string_view ns, const LabelMap& labels) const {
    std::vector<const ServiceInfo*> out;
    const auto found = services_by_ns_.find(ns);
    if (found == services_by_ns_.end()) return out;
    for (const ServiceInfo* service : found->second)
        if (is_subset(service->selector, labels)) out.push_back(service);
    return out;
}

std::vector<const ServiceInfo*> MeshView::services_listing(const Pod& pod) const {
    std::vector<const ServiceInfo*> out;
    const auto found = services_by_pod_.find(pod.meta.key() + '/' + pod.meta.uid);
    if (found == services_by_pod_.end()) return out;
    for (const std::string& key : found->second)
        if (const ServiceInfo* s = service(key); s != nullptr && s->from_service && s->selector.empty()) out.push_back(s);
    return out;
}

std::vector<const ServiceInfo*> MeshView::services_of(const ServiceEntry& entry) const {
    std::vector<const ServiceInfo*> out;
    std::set<std::string_view> seen;
    for (const std::string& host : entry.hosts) {
        const ServiceInfo* found = service(entry.meta.ns + '/' + host);
        if (found != nullptr && found->meta == &entry.meta && seen.insert(host).second) out.push_back(found);
    }
    return out;
}

PeerModes MeshView::modes_of(std::string_view ns) const {
    const auto found = modes_by_ns_.find(ns);
    if (found != modes_by_ns_.end()) return found->second;
    return PeerModes{mesh_modes_.mesh, nullptr, {}};
}

std::vector<std::string> MeshView::policies(std::string_view ns, const LabelMap& labels) const {
    std::vector<std::string> out;
    const auto add = [&](std::string_view of) {
        const auto found = policies_by_ns_.find(of);
        if (found == policies_by_ns_.end()) return;
        for (const Selecting& policy : found->second)
            if (is_subset(*policy.selector, labels)) out.push_back(policy.key);
    };
    add(ns);
    if (ns != settings_.root_namespace) add(settings_.root_namespace);
    std::sort(out.begin(), out.end());
    if (std::string key = peer_policy_key(modes_of(ns), labels, settings_); !key.empty()) out.push_back(std::move(key));
    return out;
}

const NetworkGateway* MeshView::gateway_to(std::string_view network) const {
    const auto found = std::find_if(gateways_.begin(), gateways_.end(), [&](const NetworkGateway& g) { return g.network == network; });
    return network.empty() || found == gateways_.end() ? nullptr : &*found;
}

}  // namespace warren::cluster
