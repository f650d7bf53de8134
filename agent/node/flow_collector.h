// SPDX-License-Identifier: Apache-2.0
// FlowCollector: the flow thread: kernel records and the tunnels' feeds in, every connection once out, to metrics, streams and the log. It
// never holds up the agent's loop. Each sample period it looks at the sockets themselves, so that idle and long connections report (trap
// 23) and lost ends are noticed (trap 24).
//
// start and the destructor belong to main; publish, history and stats to any thread.
#pragma once

#include "agent/node/flow_directory.h"
#include "agent/node/flow_feed_server.h"
#include "agent/node/flow_hub.h"
#include "agent/node/flow_table.h"
#include "base/metrics.h"
#include "base/result.h"
#include "bpf/abi.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

namespace warren::node {

struct FlowCollectorOptions {
    int ring_fd = -1;       // wr_flows, borrowed; -1: no kernel records
    std::string feed_path;  // empty: no feed
    std::chrono::milliseconds ring_period = std::chrono::milliseconds(200);
    std::chrono::milliseconds sample_period = std::chrono::seconds(10);
    std::chrono::milliseconds tunnel_grace = std::chrono::seconds(10);  // before a gone tunnel's flows are ended
    FlowTable::Limits limits = {};
    // Every open connection the kernel accounts for in the namespaces whose cookies it answers; runs on the flow thread. Null: no samples.
    // An error: try the next time.
    using Each = std::function<void(const wr_flow_event&)>;
    std::function<base::Result<std::unordered_set<uint64_t>>(const Each&)> sample = {};
    // Records that the kernel could not put into the ring, since the maps were made. Null: not known.
    std::function<uint64_t()> kernel_lost = {};
};

struct FlowCollectorStats {
    FlowTableStats table;
    FlowFeedStats feed;
    size_t open = 0;
    uint64_t records = 0;
    uint64_t malformed = 0;
    uint64_t kernel_lost = 0;
    uint64_t samples = 0, failed_samples = 0;
};

class FlowCollector {
  public:
    // hub and registry outlive it.
    static base::Result<std::unique_ptr<FlowCollector>> start(FlowCollectorOptions options, FlowHub& hub,
                                                              base::metrics::Registry& registry);
    // Reads what the ring still holds.
    virtual ~FlowCollector() = default;

    virtual void publish(std::shared_ptr<const FlowDirectory> names) = 0;
    // Open flows, then the latest ends, `most` in all. The filter runs on the caller's thread while flows go on being recorded: one that
    // begins or ends meanwhile may be missing, none is there twice.
    [[nodiscard]] virtual std::vector<FlowRef> history(const FlowHub::Filter& filter, size_t most) const = 0;
    [[nodiscard]] virtual FlowCollectorStats stats() const = 0;
};

}  // namespace warren::node
