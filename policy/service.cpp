// SPDX-License-Identifier: Apache-2.0
#include "policy/service.h"

namespace warren::policy {

const ServicePort* Service::port(uint16_t service_port) const {
    for (const ServicePort& p : ports)
        if (p.service_port == service_port) return &p;
    return nullptr;
}

bool operator==(const Service& a, const Service& b) {
    auto values = [](const Service& s) {
        return std::tie(s.key, s.name, s.ns, s.hostname, s.vips, s.cidr_vips, s.ports, s.subject_alt_names, s.weighted_waypoints,
                        s.load_balancing, s.ip_families, s.visibility, s.canonical, s.ingress_use_waypoint);
    };
    const bool waypoints = (a.waypoint == nullptr) == (b.waypoint == nullptr) && (a.waypoint == nullptr || *a.waypoint == *b.waypoint);
    return waypoints && values(a) == values(b);
}

}  // namespace warren::policy
