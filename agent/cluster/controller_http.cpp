// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller_http.h"

#include "agent/cluster/controller.h"
#include "agent/cluster/to_json.h"
#include "base/gzip.h"
#include "base/log.h"

namespace warren::cluster {

namespace {

namespace log = base::log;

const log::Area kAdmin("admin");

constexpr const char* kIndex = R"(<!DOCTYPE html>
<html><head><title>Warren controller</title></head><body>
<h1>Warren controller</h1>
<table>
<tr><td><a href="status">/status</a></td><td>source, errors, clients, certificates, counts as JSON</td></tr>
<tr><td><a href="debug/ambientz">/debug/ambientz</a></td><td>what nodes are sent</td></tr>
<tr><td><a href="debug/syncz">/debug/syncz</a></td><td>which node has what</td></tr>
<tr><td><a href="debug/configz">/debug/configz</a></td><td>the settings, and where each came from</td></tr>
<tr><td>/logging</td><td>POST: the log filter; ?level=LEVEL or ?level=AREA=LEVEL,... adds to it, ?reset goes back to the first</td></tr>
<tr><td>/quitquitquit</td><td>POST: end</td></tr>
</table>
</body></html>
)";

base::HttpResponse text(int status, std::string body, const char* type = "text/plain; charset=utf-8") {
    base::HttpResponse r;
    r.status = status;
    r.body = std::move(body);
    r.content_type = type;
    return r;
}

base::HttpResponse json(std::string body) { return text(200, std::move(body), "application/json"); }

base::HttpResponse post_only() {
    base::HttpResponse r = text(405, "use POST\n");
    r.allow = "POST";
    return r;
}

base::HttpResponse logging(const base::HttpRequest& request, const AdminParts& parts) {
    if (request.method != "POST") return post_only();
    const auto level = request.parameter("level");
    log::Filter filter = request.parameter("reset") ? parts.settings.log_filter : log::filter();
    if (level) {
        auto over = log::Filter::parse(*level);
        auto merged = over ? filter.merge(*over) : base::Result<void>(over.error());
        if (!merged) return text(400, merged.error().message() + "\n");
    }
    log::set_filter(filter);
    WARREN_LOG(kAdmin, log::Level::Info, "log filter changed", {"filter", filter.text()});
    return text(200, "current log level is " + filter.text() + "\n");
}

}  // namespace

base::HttpResponse controller_admin(const base::HttpRequest& request, const AdminParts& parts) {
    const std::string& path = request.path;
    if (path == "/logging") return logging(request, parts);
    if (path == "/quitquitquit") {
        if (request.method != "POST") return post_only();
        parts.quit();
        return text(200, "shutdown now\n");
    }
    if (path == "/") return text(200, kIndex, "text/html; charset=utf-8");
    if (path == "/status" || path == "/debug/syncz" || path == "/debug/connections") return json(status_json(parts.report()));
    if (path == "/debug/ambientz") return json(to_json(outputs_of(parts.snapshot()), parts.settings.mesh));
    if (path == "/debug/configz") return text(200, parts.settings.effective.text());
    return text(404, "not found\n");
}

base::HttpResponse controller_metrics(const base::HttpRequest& request, base::metrics::Registry& registry) {
    if (request.path == "/version") return json("{\"version\": \"" WARREN_VERSION "\"}\n");
    if (request.path != "/metrics") return text(404, "not found\n");
    const bool open = base::metrics::accepts_openmetrics(request.accept);
    base::HttpResponse r =
        text(200, registry.render(open ? base::metrics::Exposition::OpenMetrics : base::metrics::Exposition::Prometheus));
    r.content_type = base::metrics::content_type(open);
    base::gzip_if_accepted(request, r);
    return r;
}

base::HttpResponse controller_health(const base::HttpRequest& request, const base::Readiness& readiness) {
    if (request.path == "/livez") return text(200, "alive\n");
    if (request.path != "/ready") return base::readiness_response(request, readiness);
    base::HttpRequest same = request;
    same.path = "/healthz/ready";  // the reference has it under this name
    return base::readiness_response(same, readiness);
}

}  // namespace warren::cluster
