// SPDX-License-Identifier: Apache-2.0
// PeerAuthentication -> istio.security.Authorization (Kubernetes contract 3.6): a node proxy knows no mTLS modes, it is told to deny peers
// without an identity. Pure functions.
//
// The reference decides in two places which policy a workload names and which policies exist, and where the two differ a workload meant
// to be strict is left open (contract 3.6, quirks two and three). Here the policy follows from what is named. Two more of its readings
// are not kept for the same reason: an empty selector selects everything, here as in AuthorizationPolicy.
#pragma once

#include "agent/cluster/convert.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

constexpr std::string_view kStaticStrictName = "istio_converted_static_strict";

// Denies every peer without an identity; for workloads whose mode is STRICT throughout.
[[nodiscard]] istio::security::Authorization static_strict_policy(const Settings& settings);

// The objects that count for a namespace: the oldest of the mesh, the oldest of the namespace, and those with a selector, oldest first.
struct PeerModes {
    const PeerAuthentication* mesh = nullptr;
    const PeerAuthentication* ns = nullptr;
    std::vector<const PeerAuthentication*> selecting;

    [[nodiscard]] bool strict() const;  // what a workload without an object of its own gets
};
[[nodiscard]] PeerModes peer_modes(std::span<const PeerAuthentication* const> all, std::string_view ns, const Settings& settings);

// What a workload with these labels names, if anything.
[[nodiscard]] std::string peer_policy_key(const PeerModes& modes, const LabelMap& labels, const Settings& settings);

// The policy with the exceptions by port of one object, if it takes one.
[[nodiscard]] std::optional<istio::security::Authorization> convert_peer_authentication(const PeerAuthentication& object,
                                                                                        const PeerModes& modes);

}  // namespace warren::cluster
