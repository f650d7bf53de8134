// SPDX-License-Identifier: Apache-2.0
// The state of the process as JSON, in the names and shapes that `istioctl ztunnel-config` reads (data-plane contract 9.7). Made from
// immutable values and copies, so the mesh and the connections go on while it is written; nothing here waits for a data thread.
#pragma once

#include "policy/snapshot.h"
#include "ztunnel/cert_store.h"
#include "ztunnel/pod_manager.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic_recorder.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

struct DumpState {
    std::shared_ptr<const policy::Snapshot> mesh;
    std::shared_ptr<const policy::Snapshot> static_mesh;  // of the local file; null: none
    const Settings* settings = nullptr;
    std::vector<CertState> certificates;
    std::vector<PodState> pods;  // shared mode
    std::vector<LiveConnection> connections;
    std::string version;
};

[[nodiscard]] std::string config_dump(const DumpState& state);

}  // namespace warren::ztunnel
