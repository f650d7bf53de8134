// SPDX-License-Identifier: Apache-2.0
// What the controller's HTTP ports answer (docs/controller.md). Functions of a request, called on the servers' threads, one at a time per
// server. The status is JSON; debug paths have the names of the reference's (Kubernetes contract 5.5) where they show the same.
#pragma once

#include "agent/cluster/controller_settings.h"
#include "agent/xds/server.h"
#include "base/http_request.h"
#include "base/metrics.h"
#include "base/readiness.h"

#include <functional>
#include <string>

namespace warren::cluster {

struct ControllerReport;

struct AdminParts {
    std::function<ControllerReport()> report;
    std::function<xds::Snapshot()> snapshot;
    const ControllerSettings& settings;
    std::function<void()> quit;  // must not wait
};

[[nodiscard]] base::HttpResponse controller_admin(const base::HttpRequest& request, const AdminParts& parts);
[[nodiscard]] base::HttpResponse controller_metrics(const base::HttpRequest& request, base::metrics::Registry& registry);
[[nodiscard]] base::HttpResponse controller_health(const base::HttpRequest& request, const base::Readiness& readiness);

[[nodiscard]] std::string status_json(const ControllerReport& report);

}  // namespace warren::cluster
