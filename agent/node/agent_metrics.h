// SPDX-License-Identifier: Apache-2.0
// The agent's own metrics at each scrape (docs/metrics.md): kernel counters, maps, pods, tunnel, mesh, tables, flows. Collected on the
// scraping thread from what status shows, so the two cannot disagree.
#pragma once

#include "agent/node/status.h"
#include "base/metrics.h"

#include <functional>
#include <memory>
#include <optional>

namespace warren::node {

// look: the state now; nothing when the agent's loop does not answer, which the page says by warren_agent_responsive 0.
[[nodiscard]] std::unique_ptr<base::metrics::Registry::Subscription> publish_agent_metrics(base::metrics::Registry& registry,
                                                                                           std::function<std::optional<AgentState>()> look);

}  // namespace warren::node
