// SPDX-License-Identifier: Apache-2.0
// FlowService: the live stream of flows (proto/flow.proto) over a local Unix socket. Who may read it is decided by the credentials of the
// connecting process (SO_PEERCRED): root, the agent's own user, and the users and groups of the settings. A stream begins with what is open
// and what ended lately, then follows. gRPC makes threads: start after the last fork(). Streams are bounded; one that does not read loses
// flows and holds up nobody.
#pragma once

#include "agent/node/flow_hub.h"
#include "base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::node {

struct FlowServiceOptions {
    std::string path;
    std::vector<uid_t> readers = {};  // beside root and ourselves
    size_t max_streams = 16;
};

struct FlowServiceStats {
    uint64_t streams = 0;
    uint64_t refused_peers = 0;
    uint64_t refused_streams = 0;  // too many
    size_t open = 0;
};

// Open flows and recent ends, as a stream begins with; called on a gRPC thread.
using FlowHistory = std::function<std::vector<FlowRef>(const FlowHub::Filter&)>;

class FlowService {
  public:
    // hub outlives the service.
    static base::Result<std::unique_ptr<FlowService>> start(FlowServiceOptions options, FlowHub& hub, FlowHistory history);
    virtual ~FlowService() = default;
    [[nodiscard]] virtual FlowServiceStats stats() const = 0;
};

}  // namespace warren::node
