// SPDX-License-Identifier: Apache-2.0
#include "agent/node/page.h"

#include "base/ip.h"

#include <string>

namespace warren::node {
namespace {

constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

std::string_view type_of(std::string_view name) {
    if (name.ends_with(".html")) return "text/html; charset=utf-8";
    if (name.ends_with(".css")) return "text/css; charset=utf-8";
    return "text/javascript; charset=utf-8";
}

base::HttpResponse forbidden(const char* why) {
    base::HttpResponse r;
    r.status = 403;
    r.body = why;
    return r;
}

// "127.0.0.1:15030", "[::1]", "localhost:8080" (a forwarded port has any number).
bool is_address(std::string_view host) {
    const size_t bracket = host.rfind(']');
    if (const size_t colon = host.rfind(':'); colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket))
        host = host.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    return host == "localhost" || base::IpAddr::parse(host);
}

}  // namespace

std::optional<base::HttpResponse> page_answer(std::string_view path) {
    const std::string_view name = path == "/" ? "index.html" : path.substr(1);
    for (const EmbeddedFile& file : page_files()) {
        if (file.name != name) continue;
        base::HttpResponse r;
        r.content_type = type_of(name);
        r.body = file.bytes;
        return r;
    }
    return std::nullopt;
}

std::optional<base::HttpResponse> refuse_foreign_page(const base::HttpRequest& request, bool loopback) {
    if (loopback && !request.host.empty() && !is_address(request.host)) return forbidden("ask by address, or as localhost\n");
    if (request.method != "GET" && request.method != "HEAD" && !request.origin.empty())
        return forbidden("web pages only read here; use curl or warren\n");
    return std::nullopt;
}

void add_page_headers(base::HttpResponse& response) {
    response.headers.emplace_back("content-security-policy", kPolicy);
    response.headers.emplace_back("x-content-type-options", "nosniff");
    response.headers.emplace_back("referrer-policy", "no-referrer");
    response.headers.emplace_back("cache-control", "no-store");
}

}  // namespace warren::node
