// SPDX-License-Identifier: Apache-2.0
// The controller's metrics, warren_controller_*, and those few of the reference's names that stock dashboards ask for (pilot_xds,
// citadel_server_*, Kubernetes contract 4.4). Collected on the scraping thread.
#pragma once

#include "base/metrics.h"

#include <functional>
#include <memory>

namespace warren::cluster {

struct ControllerReport;

[[nodiscard]] std::unique_ptr<base::metrics::Registry::Subscription> publish_controller_metrics(base::metrics::Registry& registry,
                                                                                                std::function<ControllerReport()> report);

}  // namespace warren::cluster
