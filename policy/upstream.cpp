// SPDX-License-Identifier: Apache-2.0
#include "policy/upstream.h"

namespace warren::policy {

Owner find_address(const Snapshot& snapshot, const NetworkAddress& address, const Text* client_ns) {
    if (const Workload* workload = snapshot.workload(address)) return {workload, nullptr};
    return {nullptr, snapshot.service_by_vip(address, client_ns)};
}

Owner find_destination(const Snapshot& snapshot, const GatewayAddress& gateway) {
    if (const auto* address = std::get_if<NetworkAddress>(&gateway.destination)) return find_address(snapshot, *address, nullptr);
    const std::string_view name = std::get<Text>(gateway.destination).view();
    if (const ServiceEntry* service = snapshot.service(name)) return {nullptr, service};
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) return {};
    return {snapshot.workload_by_hostname(name.substr(0, slash), name.substr(slash + 1)), nullptr};
}

Upstream balance(const RouteContext& context, const ServiceEntry& entry, uint16_t port, Resolution resolution, const Text* pinned) {
    const ChoiceRequest request{
        .source = &context.source, .service_port = port, .resolution = resolution, .exclude = context.request.exclude, .pinned = pinned};
    Choice choice = choose_endpoint(entry, request, context.random);
    if (!choice.workload) return {};
    return {std::move(choice.workload), choice.port, entry.service};
}

Upstream find_upstream(const RouteContext& context, const NetworkAddress& address, uint16_t port, Resolution resolution,
                       const Text* pinned) {
    if (const ServiceEntry* entry = context.snapshot.service_by_vip(address, &context.source.ns)) {
        if (entry->service->passthrough()) return {};
        return balance(context, *entry, port, resolution, pinned);
    }
    if (const Workload* workload = context.snapshot.workload(address)) return {WorkloadRef(workload), port, nullptr};
    return {};
}

std::optional<base::IpAddr> select_ip(const Workload& workload, const Service* service, base::IpAddr original) {
    if (workload.has_address(original)) return original;
    const IpFamilies families = service != nullptr ? service->ip_families : IpFamilies::Automatic;
    std::optional<base::IpAddr> first;
    for (const base::IpAddr ip : workload.addresses) {
        if (families == (ip.is_v4() ? IpFamilies::V6Only : IpFamilies::V4Only)) continue;
        if (ip.is_v4() == original.is_v4()) return ip;
        if (!first) first = ip;
    }
    return first;
}

std::vector<Identity> expected_identities(const Upstream& upstream) {
    std::vector<Identity> list;
    if (upstream.service) list.assign(upstream.service->subject_alt_names.begin(), upstream.service->subject_alt_names.end());
    if (upstream.workload) list.push_back(upstream.workload->identity());
    return list;
}

}  // namespace warren::policy
