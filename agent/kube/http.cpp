// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/http.h"

#include "agent/kube/json_text.h"
#include "base/log_line.h"

#include <algorithm>
#include <charconv>

namespace warren::kube {

using base::Errc;

namespace {

Errc code_of(long status) {
    switch (status) {
        case 401:
        case 403: return Errc::Denied;
        case 404:
        case 410: return Errc::NotFound;
        case 409: return Errc::Exists;
        case 408:
        case 504: return Errc::Timeout;
        case 429: return Errc::Exhausted;
        default: break;
    }
    if (status >= 500) return Errc::Unavailable;
    return status >= 400 ? Errc::Invalid : Errc::Protocol;
}

}  // namespace

std::string_view to_string(Method method) noexcept {
    switch (method) {
        case Method::Get: return "GET";
        case Method::Put: return "PUT";
        case Method::Post: return "POST";
        case Method::Patch: return "PATCH";
        case Method::Delete: return "DELETE";
    }
    return "?";
}

std::string shown(const Request& request) {
    return std::string(to_string(request.method)) + ' ' + request.path.substr(0, request.path.find('?'));
}

base::Error error_of(const Request& request, const Reply& reply) {
    std::string why = status_message(reply.body);
    if (why.empty() && reply.status >= 300 && reply.status < 400) why = "a redirect, which is not followed; name the API server itself";
    std::string detail = shown(request) + ": " + std::to_string(reply.status);
    if (!why.empty()) detail += ": " + base::log::quoted(why.substr(0, 500));
    return base::Error{code_of(reply.status), 0, "", std::move(detail)};
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value) {
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' ')) value.remove_suffix(1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    uint32_t seconds = 0;
    const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (failed != std::errc() || end != value.data() + value.size()) return std::nullopt;
    return std::chrono::seconds(std::min<uint32_t>(seconds, 300));
}

}  // namespace warren::kube
