// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 requests as the admin, metrics and readiness ports take them (RFC 9112, data-plane contract 9.6): a head of at most 8 KiB, a
// body of at most 64 KiB that nobody reads. Foreign bytes in, a value or a status to refuse with out. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::base {

inline constexpr size_t kMaxHttpHead = 8 * 1024;
inline constexpr size_t kMaxHttpBody = 64 * 1024;
inline constexpr size_t kMaxHttpHeaders = 100;

struct HttpRequest {
    std::string method;           // "GET"; a token
    std::string path;             // decoded, begins with '/'
    std::string query;            // not decoded, without '?'
    std::string accept;           // all Accept headers, with commas
    std::string accept_encoding;  // likewise
    std::string host;             // the Host header; "" when there is none
    std::string origin;           // the Origin header, which browsers send with a POST; "" when there is none
    bool keep_alive = true;

    // The first value of that name, decoded; absent when the name is. A name without '=' has an empty value.
    [[nodiscard]] std::optional<std::string> parameter(std::string_view name) const;
};

struct HttpHead {
    enum class State : uint8_t { NeedMore, Refused, Complete };
    State state = State::NeedMore;
    int status = 0;            // of a refusal: 400, 413, 431, 501, 505
    size_t consumed = 0;       // of a complete request, body excluded
    size_t body = 0;           // bytes to skip after it
    bool expects_100 = false;  // the client waits for leave to send the body
    HttpRequest request;
};

// From the beginning of the connection's bytes.
[[nodiscard]] HttpHead parse_http_head(std::string_view bytes);

struct HttpResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
    std::string allow;                                              // of a 405
    std::vector<std::pair<std::string, std::string>> headers = {};  // more of them: ours, so without line feeds
};

// Status line, headers and, unless it answers HEAD, the body.
[[nodiscard]] std::string to_wire(const HttpResponse& response, bool head_only, bool keep_alive);

}  // namespace warren::base
