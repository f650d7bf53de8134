// SPDX-License-Identifier: Apache-2.0
// FlowMetrics: the node's flows as counters for the SRE (docs/metrics.md). Labels are namespaces and controllers, never pods, addresses or
// ports, and each family is bounded; what does not fit shares the series "overflow". The flow thread updates, any thread scrapes.
#pragma once

#include "agent/node/flow_table.h"
#include "base/metrics.h"
#include "base/result.h"
#include "proto/flow.pb.h"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace warren::node {

class FlowMetrics {
  public:
    // The registry outlives it.
    static base::Result<FlowMetrics> create(base::metrics::Registry& registry);
    void count(const flow::v1::Flow& flow, const FlowTable::Change& change);

  private:
    using Counters = base::metrics::Family<base::metrics::Counter>;
    // One kind of traffic: series held while it flows, so that an update is not a lookup of five families.
    struct Kind {
        std::shared_ptr<base::metrics::Counter> opened, closed, sent, received, retransmits;
        std::shared_ptr<base::metrics::Counter> denied;
        std::shared_ptr<base::metrics::Histogram> connect_seconds, duration_seconds;
    };
    struct Families {
        Counters opened, closed, bytes, retransmits, denied;
        base::metrics::Family<base::metrics::Histogram> connect_seconds, duration_seconds;
    };
    explicit FlowMetrics(Families families) : families_(std::move(families)) {}
    Kind& kind_of(const flow::v1::Flow& flow);
    Kind make_kind(const flow::v1::Flow& flow) const;

    Families families_;
    std::unordered_map<std::string, Kind> kinds_;
};

}  // namespace warren::node
