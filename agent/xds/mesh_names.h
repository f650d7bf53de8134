// SPDX-License-Identifier: Apache-2.0
// The names by which an on-demand client asks for a resource of the mesh, beside the resource's own, and what it gets without asking
// (data-plane contract 3.6, Kubernetes contract 5.2, 5.3). One answer for both servers: the controller's, and the agent's to its tunnel.
// Pure; any thread.
#pragma once

#include "agent/xds/request.h"
#include "agent/xds/update.h"

#include <string>
#include <string_view>
#include <vector>

namespace istio::workload {
class Service;
class Workload;
}  // namespace istio::workload

namespace warren::xds {

// What an on-demand client subscribes to for all services at once. A stock server knows nothing of it.
inline constexpr std::string_view kServicesGroup = "warren:services";

struct OtherNames {
    std::vector<std::string> aliases;  // "network/ip", "network/ip/length" of a range, "namespace/hostname"
    std::vector<std::string> groups;   // what brings it along: its services, its node, all services
};

[[nodiscard]] OtherNames other_names(const istio::workload::Workload& workload);
[[nodiscard]] OtherNames other_names(const istio::workload::Service& service);
// Of a resource as it came, for a server whose clients are all on `node` (empty: anywhere): nobody asks it for
// what belongs to other nodes. One that does not read has no other names: it is refused elsewhere.
[[nodiscard]] OtherNames other_names(std::string_view type_url, const Resource& resource, std::string_view node);

// What a client of a node is subscribed to without asking: the workloads of its node.
[[nodiscard]] std::vector<std::string> implied_names(const NodeInfo& node, std::string_view type_url);

}  // namespace warren::xds
