// SPDX-License-Identifier: Apache-2.0
// Waypoints and network gateways (data-plane contract 5.4, 5.5, 6.3): which one a service uses for this connection, which workload
// that is right now, and whether a given workload is the waypoint of a target. Pure; any thread. For route and inbound.
#pragma once

#include "policy/upstream.h"

namespace warren::policy {

// The waypoint of a service for one connection: drawn by weight where weighted ones can be drawn, else the single one; null: none.
[[nodiscard]] const GatewayAddress* service_waypoint(const Service& service, Random& random);

// A waypoint or gateway, resolved to a workload.
struct GatewayHop {
    Upstream upstream;        // none: see `known`
    base::IpAddr address_of;  // the address whose family the hop follows: the configured one, else the original destination
    bool known = false;       // the reference names something; without an upstream it has no usable endpoint
};
[[nodiscard]] GatewayHop resolve_gateway(const RouteContext& context, const GatewayAddress& gateway, Resolution resolution);

// Is the source itself the waypoint of `target`, dialling from `client`? Keeps a waypoint from being sent through itself.
[[nodiscard]] bool is_own_waypoint(const RouteContext& context, const Workload& target);

// Inbound (6.3): does the workload or service that owns an address have the local workload as its waypoint? Every waypoint that an
// outbound side could draw counts, weighted ones included.
[[nodiscard]] bool serves_as_waypoint(const Snapshot& snapshot, const Owner& target, const Workload& local, base::IpAddr local_ip);

}  // namespace warren::policy
