// SPDX-License-Identifier: Apache-2.0
#include "policy/workload.h"

#include <algorithm>

namespace warren::policy {

bool Workload::has_address(base::IpAddr ip) const { return std::find(addresses.begin(), addresses.end(), ip) != addresses.end(); }

const WorkloadService* Workload::membership(const Text& service) const {
    for (const WorkloadService& s : services)
        if (s.service == service) return &s;
    return nullptr;
}

namespace {

template <class T>
bool same(const std::unique_ptr<const T>& a, const std::unique_ptr<const T>& b) {
    return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
}

}  // namespace

bool operator==(const Workload& a, const Workload& b) {
    auto values = [](const Workload& w) {
        return std::tie(w.uid, w.name, w.ns, w.service_account, w.trust_domain, w.network, w.node, w.cluster_id, w.canonical_name,
                        w.canonical_revision, w.workload_name, w.hostname, w.locality, w.addresses, w.services, w.authorization_policies,
                        w.capacity, w.tunnel_protocol, w.network_mode, w.status, w.type, w.native_tunnel);
    };
    return values(a) == values(b) && same(a.waypoint, b.waypoint) && same(a.network_gateway, b.network_gateway) &&
           same(a.application_tunnel, b.application_tunnel);
}

}  // namespace warren::policy
