// SPDX-License-Identifier: Apache-2.0
#include "policy/reason.h"

namespace warren::policy {

std::string_view to_string(Reason reason) noexcept {
    switch (reason) {
        case Reason::AllowedNoAllowPolicy: return "allowed_no_allow_policy";
        case Reason::AllowedByPolicy: return "allowed_by_policy";
        case Reason::DeniedByPolicy: return "denied_by_policy";
        case Reason::DeniedNoAllowMatched: return "denied_no_allow_matched";
        case Reason::DeniedPolicyMissing: return "denied_policy_missing";
        case Reason::DeniedPolicyRefused: return "denied_policy_refused";
        case Reason::Ok: return "ok";
        case Reason::UnknownSource: return "unknown_source";
        case Reason::SelfCall: return "self_call";
        case Reason::NoHealthyUpstream: return "no_healthy_upstream";
        case Reason::NoSuchPort: return "no_such_port";
        case Reason::UnknownWaypoint: return "unknown_waypoint";
        case Reason::UnknownGateway: return "unknown_gateway";
        case Reason::CrossNetworkNoService: return "cross_network_no_service";
        case Reason::NoAddress: return "no_address";
        case Reason::NotForThisPod: return "not_for_this_pod";
        case Reason::UnknownDestination: return "unknown_destination";
        case Reason::PassthroughUnknown: return "passthrough_unknown";
        case Reason::PassthroughService: return "passthrough_service";
    }
    return "unknown";
}

}  // namespace warren::policy
