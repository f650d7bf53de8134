// SPDX-License-Identifier: Apache-2.0
// FlowFeedServer: where the tunnel tells what only it knows of its connections (framing: proto/README.md, "Flow feed"). Packets in, flows
// out. The peer runs as root or as our user (SO_PEERCRED), or it is not heard.
//
// Threads: the loop's, which is the flow thread's. Bounds: connections, packets in one turn; what a tunnel says it lost is passed on.
#pragma once

#include "base/loop.h"
#include "base/result.h"
#include "proto/flow.pb.h"

#include <cstdint>
#include <memory>
#include <string>

namespace warren::node {

class FlowFeedEvents {
  public:
    virtual ~FlowFeedEvents() = default;
    virtual void feed_flow(uint64_t feed, const flow::v1::Flow& flow) = 0;
    virtual void feed_lost(uint64_t flows) = 0;  // more than was known of before
    virtual void feed_ended(uint64_t feed) = 0;
};

struct FlowFeedStats {
    uint64_t sessions = 0;
    uint64_t refused_peers = 0;
    uint64_t packets = 0;
    uint64_t flows = 0;
    uint64_t malformed = 0;  // packets; the feed goes on
    uint64_t lost = 0;       // as the tunnels tell, and gaps in a sequence
    size_t connected = 0;
};

class FlowFeedServer {
  public:
    static base::Result<std::unique_ptr<FlowFeedServer>> start(base::Loop& loop, const std::string& path, FlowFeedEvents& events);
    virtual ~FlowFeedServer() = default;
    [[nodiscard]] virtual FlowFeedStats stats() const = 0;  // any thread
};

}  // namespace warren::node
