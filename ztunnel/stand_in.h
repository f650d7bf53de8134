// SPDX-License-Identifier: Apache-2.0
// The stand-in for a pod's record that has not come: who the pod is by the node agent's word (contract 8.2), for the source of its outbound
// connections. A pod connects with its first instruction, but a control plane knows its record only once the kubelet has told the API
// server of its address, which takes seconds where many start at once. Pure; any thread.
//
// It admits nobody: certificates of the identity are issued as the authority says, the destination judges by them, and what arrives for the
// pod waits for the record as ever. What only the record knows stays empty: labels are "unknown", no service, no waypoint.
#pragma once

#include "base/ip.h"
#include "policy/workload.h"

#include <string_view>

namespace warren::ztunnel {

struct StandIn {
    std::string_view ns, name, service_account;
    std::string_view trust_domain, cluster_id, node;
    policy::Text network;
    // Borrowed: a record of this node, or null: its locality and trust domain are the pod's too.
    const policy::Workload* neighbour = nullptr;
};
[[nodiscard]] policy::WorkloadRef make_stand_in(const StandIn& who, base::IpAddr address);

}  // namespace warren::ztunnel
