// SPDX-License-Identifier: Apache-2.0
// The Traffic of traffic.h: traffic counters, access log and the table of live connections from one record per connection (data-plane
// contract 9.2, 9.3, 9.5, 9.7; trap 40: they cannot disagree).
//
// Threads: as traffic.h says. Each thread that opens records has a shard: its lock is met by nobody else but the closer of a record that
// was handed over, and a dump, which takes it for a hundred connections at a time. Series are looked up once per set of label facts and
// kept in a bounded cache of the shard. The registry outlives this, and this outlives its records.
#pragma once

#include "base/metrics.h"
#include "base/result.h"
#include "ztunnel/flow_event.h"
#include "ztunnel/traffic.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

// An open connection as a dump shows it. Which pod it belongs to is told by the local workload's namespace and name.
struct LiveConnection {
    Direction direction = Direction::Outbound;
    TunnelKind kind = TunnelKind::Tcp;
    bool mutual_tls = false;
    base::SockAddr src;
    base::SockAddr dst;
    base::SockAddr original_dst;
    std::string forwarded_host;
    policy::WorkloadRef local;
};

struct TrafficOptions {
    // Of one family; what is beyond shares the overflow series, which is counted (base/metrics.h). About 2 KiB each.
    size_t series = 10'000;
    // Label sets that one shard remembers; twice as many at the most. A set is under 1 KiB and holds its workloads' records.
    size_t cached_sets = 1024;
    bool decisions_at_info = false;  // AUTHZ_POLICY_INFO_LOGGING: what policies decide is logged at info, not debug
};

class TrafficRecorder : public Traffic, public FlowSource {
  public:
    // Where flows go; null (the start): nowhere, and nothing is kept for them. Once, before the first connection; it outlives this.
    virtual void send_flows_to(FlowSink* sink) = 0;
    // Every open connection that was open when this began and still is when it is reached. A copy; any thread.
    [[nodiscard]] virtual std::vector<LiveConnection> live() const = 0;
};

// An error is a family of that name with another shape: our bug.
[[nodiscard]] base::Result<std::unique_ptr<TrafficRecorder>> make_traffic(base::metrics::Registry& registry,
                                                                          const TrafficOptions& options = {});

}  // namespace warren::ztunnel
