// SPDX-License-Identifier: Apache-2.0
// Gateways that this control plane programs, and what their status says. Those are the references to other networks (Kubernetes contract
// 7.2): a Gateway of class istio-remote needs nothing deployed, its spec is all there is. Waypoints and gateways that somebody has to
// deploy are their own controller's, which writes their status too (contract 12.2, row 9). Pure functions.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_objects.h"

#include <string>
#include <vector>

namespace warren::cluster {

[[nodiscard]] bool leads_elsewhere(const Gateway& gateway);
// The one that connections to the other network take; null: there is none.
[[nodiscard]] const Listener* hbone_listener(const Gateway& gateway);

// Beside the conditions Accepted and Programmed.
struct GatewayDetails {
    struct Listener {
        std::string name;
        std::vector<Told> told;
        bool operator==(const Listener&) const = default;
    };
    std::vector<GatewayAddress> addresses;
    std::vector<Listener> listeners;
    bool operator==(const GatewayDetails&) const = default;
};

// Of one that leads elsewhere; the conditions go to the problems.
[[nodiscard]] GatewayDetails tell_gateway(const Gateway& gateway, Diagnostics& problems);

}  // namespace warren::cluster
