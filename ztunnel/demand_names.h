// SPDX-License-Identifier: Apache-2.0
// Which names of the control plane a connection needs before its route can be drawn from a mesh that is not all here (data-plane contract
// 3.6, 5.2): its destination, and the waypoints and network gateways on the way there. Pure; any thread. What a name brings may need more
// names, so the caller asks again until all are answered.
#pragma once

#include "policy/snapshot.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

[[nodiscard]] std::string demand_name(const policy::NetworkAddress& address);  // "network/ip"

struct DemandNames {
    std::vector<std::string> needed;  // must have been answered
    std::vector<std::string> used;    // stand behind what is there already
};

struct DemandRequest {
    const policy::Workload& source;
    policy::NetworkAddress destination;
    bool services = false;  // known services are to be asked for, for their endpoints
};
[[nodiscard]] DemandNames demand_names(const policy::Snapshot& snapshot, const DemandRequest& request);

// Is what an answer to this name would bring here?
[[nodiscard]] bool demand_is_there(const policy::Snapshot& snapshot, std::string_view name);

// What the names bring, as resource names: the workload or the service of each, and the endpoints of that service.
[[nodiscard]] std::vector<std::string_view> demand_covers(const policy::Snapshot& snapshot, std::string_view name);

}  // namespace warren::ztunnel
