// SPDX-License-Identifier: Apache-2.0
// FlowMetrics: the node's flows as counters for the SRE (docs/metrics.md). Labels are namespaces and controllers, never pods, addresses or
// ports, and each family is bounded; what does not fit shares the series "overflow". The flow thread updates, any thread scrapes.
//
// istio_tcp_* are for connections of the same-node path only, once for each reporter, as two tunnels would: the tunnel reports its own.
#pragma once

#include "agent/node/flow_table.h"
#include "base/metrics.h"
#include "base/result.h"
#include "policy/snapshot.h"
#include "proto/flow.pb.h"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace warren::node {

class FlowMetrics {
  public:
    // The registry outlives it.
    static base::Result<FlowMetrics> create(base::metrics::Registry& registry);
    // mesh: for the records behind the flow's ends; null when there is none yet.
    void count(const flow::v1::Flow& flow, const FlowTable::Change& change, const policy::Snapshot* mesh);

  private:
    using Counters = base::metrics::Family<base::metrics::Counter>;
    // One kind of traffic: series held while it flows, so that an update is not a lookup of five families.
    struct Reported {
        std::shared_ptr<base::metrics::Counter> opened, closed, sent, received;
    };
    struct Kind {
        std::shared_ptr<base::metrics::Counter> opened, closed, sent, received, retransmits;
        std::shared_ptr<base::metrics::Counter> denied;
        std::shared_ptr<base::metrics::Histogram> connect_seconds, duration_seconds;
        std::vector<Reported> direct;  // of the same-node path: source and destination
    };
    struct Families {
        Counters opened, closed, bytes, retransmits, denied;
        base::metrics::Family<base::metrics::Histogram> connect_seconds, duration_seconds;
        Counters tcp_opened, tcp_closed, tcp_sent, tcp_received;  // istio_tcp_*
    };
    explicit FlowMetrics(Families families) : families_(std::move(families)) {}
    Kind& kind_of(const flow::v1::Flow& flow, const policy::Snapshot* mesh);
    Kind make_kind(const flow::v1::Flow& flow, const policy::Snapshot* mesh) const;
    void report_direct(Kind& kind, const flow::v1::Flow& flow, const policy::Snapshot* mesh) const;

    Families families_;
    std::unordered_map<std::string, Kind> kinds_;
};

}  // namespace warren::node
