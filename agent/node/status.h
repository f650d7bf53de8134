// SPDX-License-Identifier: Apache-2.0
// The agent's state as one JSON document (GET /status of the admin port): what `warren status`, `warren check` and the node page read.
// Names are stable; fields are added, never renamed. Pure; any thread.
#pragma once

#include "agent/node/flow_collector.h"
#include "agent/node/flow_service.h"
#include "agent/node/kube_enrolment.h"
#include "agent/node/mesh_source.h"
#include "agent/node/node_report.h"
#include "agent/node/pod_file_source.h"
#include "agent/node/settings.h"

#include <cstdint>
#include <optional>
#include <string>

namespace warren::node {

struct AgentState {
    const Settings* settings = nullptr;
    uint64_t uptime_seconds = 0;
    std::vector<std::string> pending;  // what readiness waits for
    NodeReport node;
    MeshSourceStatus mesh;
    std::optional<PodFileSource::Status> pods_file;
    std::optional<KubeEnrolmentStatus> kube;
    FlowCollectorStats flows;
    FlowServiceStats flow_service;
};

[[nodiscard]] std::string status_json(const AgentState& state);
// Names of wr_stat as in metrics and status: "connect_tunnel", ...
[[nodiscard]] std::string_view stat_name(wr_stat stat);

}  // namespace warren::node
