// SPDX-License-Identifier: Apache-2.0
// FlowLog: flows as JSON lines in a file, one object a line (flow_json.h), for recorders and `policy diff`. One
// thread of its own behind a FlowHub listener, so a slow or full disk costs lines, counted, and nothing else. A file that was moved away
// (logrotate) is noticed and opened anew.
#pragma once

#include "agent/node/flow_hub.h"
#include "base/result.h"

#include <cstdint>
#include <memory>
#include <string>

namespace warren::node {

struct FlowLogStats {
    uint64_t lines = 0;
    uint64_t failed = 0;  // lines that the file did not take
    uint64_t lost = 0;    // flows that never reached it: the queue was full
};

class FlowLog {
  public:
    // The first open must succeed; later failures are tried again with each batch. hub outlives the log.
    static base::Result<std::unique_ptr<FlowLog>> start(const std::string& path, FlowHub& hub);
    // Ends with what is queued written, when the hub was closed before.
    virtual ~FlowLog() = default;
    [[nodiscard]] virtual FlowLogStats stats() const = 0;
};

}  // namespace warren::node
