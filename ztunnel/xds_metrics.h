// SPDX-License-Identifier: Apache-2.0
// What the process tells of its control plane at each scrape: the metrics of data-plane contract 9.4 (istio_xds_*) and Warren's own beside
// them. Collected on the scraping thread from counts that others keep.
#pragma once

#include "agent/xds/client.h"
#include "base/metrics.h"
#include "ztunnel/on_demand.h"

#include <functional>
#include <memory>

namespace warren::ztunnel {

// on_demand may be empty. Called from the scraping thread; what they use outlives the subscription.
struct XdsSources {
    std::function<xds::Stats()> client;
    std::function<OnDemand::Stats()> on_demand;
};

[[nodiscard]] std::unique_ptr<base::metrics::Registry::Subscription> publish_xds_metrics(base::metrics::Registry& registry,
                                                                                         XdsSources sources);

}  // namespace warren::ztunnel
