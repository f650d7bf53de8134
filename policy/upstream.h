// SPDX-License-Identifier: Apache-2.0
// The lookups that a route is made of (data-plane contract 5.1, 5.3): who owns an address, which workload takes a connection, which of
// its addresses to dial. Pure; any thread. For route, waypoint and inbound; others ask route.h.
#pragma once

#include "policy/endpoint_choice.h"
#include "policy/route.h"

#include <optional>
#include <vector>

namespace warren::policy {

// Who owns an address: at most one of the two. Borrowed from the snapshot.
struct Owner {
    const Workload* workload = nullptr;
    const ServiceEntry* service = nullptr;
    explicit operator bool() const { return workload != nullptr || service != nullptr; }
};

// "Address lookup": workload first, then service by VIP. find_upstream below looks in the other order; with an address that is both,
// the connection does not count as service-addressed and is balanced all the same (quirk A4, kept).
[[nodiscard]] Owner find_address(const Snapshot& snapshot, const NetworkAddress& address, const Text* client_ns);

// What a waypoint or gateway reference names, whether usable or not: an address, or "namespace/hostname" (service, then workload).
[[nodiscard]] Owner find_destination(const Snapshot& snapshot, const GatewayAddress& gateway);

// What every lookup for one connection shares. Borrowed for the call to route().
struct RouteContext {
    const Snapshot& snapshot;
    const RouteRequest& request;
    const Workload& source;
    Random& random;
};

struct Upstream {
    WorkloadRef workload;  // null: none
    uint16_t port = 0;
    ServiceRef service;  // the one it was balanced over; null when the workload itself was addressed
    explicit operator bool() const { return static_cast<bool>(workload); }
};

// Service first, then workload. Also none: a service that asks for passthrough.
[[nodiscard]] Upstream find_upstream(const RouteContext& context, const NetworkAddress& address, uint16_t port, Resolution resolution,
                                     const Text* pinned = nullptr);

// One endpoint of that service.
[[nodiscard]] Upstream balance(const RouteContext& context, const ServiceEntry& entry, uint16_t port, Resolution resolution,
                               const Text* pinned = nullptr);

// The workload's address to dial; none where only a hostname (or nothing) is known. `original` is the address that was asked for.
[[nodiscard]] std::optional<base::IpAddr> select_ip(const Workload& workload, const Service* service, base::IpAddr original);

// Whom TLS may meet there: the service's names, then the workload's own identity (contract 4.4).
[[nodiscard]] std::vector<Identity> expected_identities(const Upstream& upstream);

}  // namespace warren::policy
