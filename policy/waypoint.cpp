// SPDX-License-Identifier: Apache-2.0
#include "policy/waypoint.h"

namespace warren::policy {

const GatewayAddress* service_waypoint(const Service& service, Random& random) {
    uint64_t total = 0;
    for (const WeightedWaypoint& w : service.weighted_waypoints) total += w.weight;
    if (total == 0) return service.waypoint.get();
    uint64_t left = random.below(total);
    for (const WeightedWaypoint& w : service.weighted_waypoints) {
        if (left < w.weight) return &w.destination;
        left -= w.weight;
    }
    return nullptr;  // not reached: left < total
}

GatewayHop resolve_gateway(const RouteContext& context, const GatewayAddress& gateway, Resolution resolution) {
    if (const auto* address = std::get_if<NetworkAddress>(&gateway.destination)) {
        Upstream upstream = find_upstream(context, *address, gateway.hbone_mtls_port, resolution);
        const bool known = upstream || context.snapshot.service_by_vip(*address, &context.source.ns) != nullptr;
        return {std::move(upstream), address->ip, known};
    }
    const base::IpAddr original = context.request.destination.ip;
    const Owner owner = find_destination(context.snapshot, gateway);
    if (owner.service != nullptr) return {balance(context, *owner.service, gateway.hbone_mtls_port, resolution), original, true};
    if (owner.workload != nullptr) return {Upstream{WorkloadRef(owner.workload), gateway.hbone_mtls_port, nullptr}, original, true};
    return {};
}

bool is_own_waypoint(const RouteContext& context, const Workload& target) {
    if (target.waypoint == nullptr) return false;
    const Owner owner = find_destination(context.snapshot, *target.waypoint);
    const Workload& source = context.source;
    auto is_us = [&](const Workload& w) {
        return w.trust_domain == source.trust_domain && w.ns == source.ns && w.service_account == source.service_account &&
               w.has_address(context.request.client);
    };
    if (owner.workload != nullptr) return is_us(*owner.workload);
    if (owner.service == nullptr) return false;
    bool found = false;
    owner.service->endpoints.for_each([&](const Text&, const Endpoint& e) { found = found || is_us(*e.workload); });
    return found;
}

namespace {

bool names_local(const Snapshot& snapshot, const GatewayAddress& waypoint, const Workload& local, base::IpAddr local_ip) {
    const Owner owner = find_destination(snapshot, waypoint);
    if (owner.service != nullptr) return owner.service->endpoints.find(local.uid) != nullptr;
    return owner.workload != nullptr && owner.workload->has_address(local_ip);
}

}  // namespace

bool serves_as_waypoint(const Snapshot& snapshot, const Owner& target, const Workload& local, base::IpAddr local_ip) {
    if (target.workload != nullptr)
        return target.workload->waypoint != nullptr && names_local(snapshot, *target.workload->waypoint, local, local_ip);
    if (target.service == nullptr) return false;
    const Service& service = *target.service->service;
    if (service.waypoint != nullptr && names_local(snapshot, *service.waypoint, local, local_ip)) return true;
    for (const WeightedWaypoint& w : service.weighted_waypoints)
        if (w.weight > 0 && names_local(snapshot, w.destination, local, local_ip)) return true;
    return false;
}

}  // namespace warren::policy
