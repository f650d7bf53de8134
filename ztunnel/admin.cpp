// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/admin.h"

#include "base/gzip.h"
#include "base/log.h"

#include <optional>
#include <string>
#include <utility>

namespace warren::ztunnel {
namespace {

namespace log = base::log;

const log::Area kAdmin("admin");

constexpr const char* kIndex = R"(<!DOCTYPE html>
<html><head><title>Warren tunnel</title></head><body>
<h1>Warren tunnel</h1>
<table>
<tr><td><a href="config_dump">/config_dump</a></td><td>configuration, mesh, certificates and open connections as JSON</td></tr>
<tr><td>/logging</td><td>POST: the log filter; ?level=LEVEL or ?level=TARGET=LEVEL,... adds to it, ?reset goes back to the first</td></tr>
<tr><td>/quitquitquit</td><td>POST: drain and end</td></tr>
</table>
</body></html>
)";

base::HttpResponse text(int status, std::string body) {
    base::HttpResponse r;
    r.status = status;
    r.body = std::move(body);
    return r;
}

base::HttpResponse post_only() {
    base::HttpResponse r = text(405, "use POST\n");
    r.allow = "POST";
    return r;
}

base::HttpResponse current_filter() { return text(200, "current log level is " + log::filter().text() + "\n"); }

// With the level of all other targets spelled out: a filter without one means info, and the answer should say so.
base::Result<log::Filter> changed(const log::Filter& before, const std::optional<std::string>& level) {
    if (!level) return before;
    log::Filter filter = TRY(log::Filter::parse("info"));
    TRY(filter.merge(before));
    TRY(filter.merge(TRY(log::Filter::parse(*level))));
    return filter;
}

base::HttpResponse logging(const base::HttpRequest& request, const AdminSources& sources) {
    if (request.method != "POST") return post_only();
    const bool reset = request.parameter("reset").has_value();
    const auto level = request.parameter("level");
    if (!reset && !level) return current_filter();
    auto filter = changed(reset ? sources.start_filter : log::filter(), level);
    if (!filter) return text(400, filter.error().message() + "\n");
    log::set_filter(*filter);
    WARREN_LOG(kAdmin, log::Level::Info, "log filter changed", {"filter", filter->text()});
    return current_filter();
}

}  // namespace

base::HttpResponse admin_response(const base::HttpRequest& request, const AdminSources& sources) {
    const std::string& path = request.path;
    if (path == "/") {
        base::HttpResponse r = text(200, kIndex);
        r.content_type = "text/html; charset=utf-8";
        return r;
    }
    if (path == "/config_dump") {
        base::HttpResponse r = text(200, sources.config_dump());
        r.content_type = "application/json";
        return r;
    }
    if (path == "/logging") return logging(request, sources);
    if (path == "/quitquitquit") {
        if (request.method != "POST") return post_only();
        WARREN_LOG(kAdmin, log::Level::Info, "asked to shut down by /quitquitquit");
        sources.quit();
        return text(200, "shutdown now\n");
    }
    if (path.starts_with("/debug/pprof/"))
        return text(404, "Warren has no profiler inside; profile the process from outside, for example with perf.\n");
    return text(404, "not found\n");
}

base::HttpResponse metrics_response(const base::HttpRequest& request, base::metrics::Registry& registry) {
    if (request.path != "/metrics" && request.path != "/stats/prometheus") return text(404, "not found\n");
    base::HttpResponse r = text(200, registry.render(base::metrics::Exposition::OpenMetrics));
    r.content_type = base::metrics::content_type(base::metrics::accepts_openmetrics(request.accept));
    base::gzip_if_accepted(request, r);
    return r;
}

}  // namespace warren::ztunnel
