// SPDX-License-Identifier: Apache-2.0
// Why: the stable code of every verdict and refusal. The same text stands in logs, metrics, flows and the CLI, so it never changes
// meaning; new ones are added at the end.
#pragma once

#include <cstdint>
#include <string_view>

namespace warren::policy {

enum class Reason : uint8_t {
    // authorization
    AllowedNoAllowPolicy,  // no enforced ALLOW policy selects the workload, no DENY matched
    AllowedByPolicy,
    DeniedByPolicy,        // an enforced DENY matched
    DeniedNoAllowMatched,  // ALLOW policies select the workload and none matched
    DeniedPolicyMissing,   // the workload lists a policy that has not arrived
    DeniedPolicyRefused,   // a policy that selects the workload was refused and there is no earlier version
    // routing
    Ok,
    UnknownSource,          // the local workload's record has not arrived
    SelfCall,               // a loopback destination on a port of the tunnel itself
    NoHealthyUpstream,      // the service has no usable endpoint
    NoSuchPort,             // the service does not list the port
    UnknownWaypoint,        // a waypoint is demanded that nobody knows
    UnknownGateway,         // another network is demanded and its gateway is unknown or absent
    CrossNetworkNoService,  // another network can only be reached through a service
    NoAddress,              // the endpoint has neither address nor hostname
    NotForThisPod,          // inbound: the authority names something this pod does not serve
    UnknownDestination,     // inbound: no such service or port mapping
    PassthroughUnknown,     // not in the mesh: sent on as it is
    PassthroughService,     // the service asks for passthrough
};
inline constexpr int kReasonCount = static_cast<int>(Reason::PassthroughService) + 1;

// "allowed_by_policy", "no_healthy_upstream", ...
[[nodiscard]] std::string_view to_string(Reason reason) noexcept;

}  // namespace warren::policy
