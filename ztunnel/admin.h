// SPDX-License-Identifier: Apache-2.0
// What the admin and metrics ports answer (data-plane contract 9.1, 9.6). Functions of a request; the servers' threads call them
// (http_server.h), one request at a time per server.
#pragma once

#include "base/http_request.h"
#include "base/log_filter.h"
#include "base/metrics.h"

#include <functional>
#include <string>

namespace warren::ztunnel {

struct AdminSources {
    std::function<std::string()> config_dump;  // JSON
    std::function<void()> quit;                // begins the drain; must not wait for it
    base::log::Filter start_filter;            // what /logging?reset goes back to
};

[[nodiscard]] base::HttpResponse admin_response(const base::HttpRequest& request, const AdminSources& sources);

// /metrics and /stats/prometheus: always OpenMetrics text, under the content type that Accept asks for.
[[nodiscard]] base::HttpResponse metrics_response(const base::HttpRequest& request, base::metrics::Registry& registry);

}  // namespace warren::ztunnel
