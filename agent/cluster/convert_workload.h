// SPDX-License-Identifier: Apache-2.0
// Pods, entries and endpoints -> istio.workload.Workload (Kubernetes contract 2.3 to 2.6). Pure functions of one object and the view of
// what it depends on.
#pragma once

#include "agent/cluster/mesh_view.h"

#include <optional>
#include <string>
#include <vector>

namespace warren::cluster {

using istio::workload::Workload;

// Of objects by "NS/NAME".
[[nodiscard]] std::string pod_uid(const std::string& key, const Settings& settings);
[[nodiscard]] std::string workload_entry_uid(const std::string& key, const Settings& settings);

// Nothing while it has no address, and once it has ended.
[[nodiscard]] std::optional<Workload> convert_pod(const Pod& pod, const MeshView& mesh);
[[nodiscard]] Workload convert_workload_entry(const WorkloadEntry& entry, const MeshView& mesh);
// Its endpoints; for names to be resolved, one for each host.
[[nodiscard]] std::vector<Workload> convert_endpoints(const ServiceEntry& entry, const MeshView& mesh);
// Endpoints that are not pods.
[[nodiscard]] std::vector<Workload> convert_slice(const EndpointSlice& slice, const MeshView& mesh);
// So that proxies know who answers there.
[[nodiscard]] Workload convert_network_gateway(const NetworkGateway& gateway);

// What the kinds share (convert_pod.cpp). The name is the workload's, for telemetry.
void set_names(const LabelMap& labels, std::string workload_name, Workload& to);
void set_tunnel(const LabelMap& labels, const LabelMap& annotations, Workload& to);
// The network, the way into it, and what is the same for all.
void set_surroundings(const std::string& network, const MeshView& mesh, Workload& to);
// The waypoint the object is bound to, or how connections reach the waypoint that it is part of.
void set_waypoint(const ObjectMeta& object, std::string_view kind, const MeshView& mesh, Workload& to);
void set_policies(const std::string& ns, const LabelMap& labels, const MeshView& mesh, Workload& to);

}  // namespace warren::cluster
