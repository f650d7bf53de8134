// SPDX-License-Identifier: Apache-2.0
// What the process tells of itself at each scrape (data-plane contract 9.4): descriptors, build, pods, workers, pools, limits that refused,
// the log. Collected on the scraping thread from counts that others keep.
#pragma once

#include "base/metrics.h"
#include "ztunnel/pod_limits.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace warren::ztunnel {

// One data-plane thread.
struct WorkerGauges {
    uint64_t busy_ns = 0;
    uint64_t chunks_out = 0;
    uint64_t connections = 0, streams = 0, descriptors = 0;
    uint64_t buffered_bytes = 0;
    uint64_t pooled_tunnels = 0;
    PodCounts pods;
    uint64_t chunks_refused = 0;
    uint64_t tasks_refused = 0;  // the loop's mailbox was full
    uint64_t handshakes_refused = 0;
};

struct PodGauges {
    uint64_t active = 0, pending = 0, started = 0, stopped = 0;
};

struct FlowGauges {
    uint64_t sent = 0, lost = 0, sessions = 0;
    bool connected = false;
};

// Any may be empty. Called from the scraping thread; what they use outlives the subscription.
struct ProcessSources {
    std::string istio_version = "unknown";
    std::function<std::vector<WorkerGauges>()> workers;
    std::function<PodGauges()> pods;
    std::function<FlowGauges()> flows;
    // Whatever else counts something, at each scrape. Called in order.
    std::vector<std::function<void(base::metrics::Collection&)>> others;
    // Other limits that refuse, by name: {"admin_connections", n}.
    std::function<std::vector<std::pair<std::string, uint64_t>>()> refusals;
};

[[nodiscard]] std::unique_ptr<base::metrics::Registry::Subscription> publish_process_metrics(base::metrics::Registry& registry,
                                                                                             ProcessSources sources);

}  // namespace warren::ztunnel
