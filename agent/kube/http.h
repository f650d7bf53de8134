// SPDX-License-Identifier: Apache-2.0
// What is asked of an API server, what it answers, and what an answer that is no success means. Plain values and pure functions.
#pragma once

#include "base/result.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace warren::kube {

enum class Method : uint8_t { Get, Put, Post, Patch, Delete };
[[nodiscard]] std::string_view to_string(Method method) noexcept;

struct Request {
    Method method = Method::Get;
    std::string path;  // with its query, from the slash on
    std::string body = {};
    std::string content_type = "application/json";
    std::string accept = "application/json";
    std::chrono::milliseconds within{0};  // less time than the client's own limit; 0: that
};

struct Reply {
    long status = 0;
    std::string body;  // of a stream: only what did not go to its receiver
    std::optional<std::chrono::seconds> retry_after = {};

    [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

struct Limits {
    std::chrono::milliseconds total = std::chrono::seconds(10);
    std::chrono::milliseconds connect = std::chrono::seconds(5);
    std::chrono::seconds silence{0};  // without a byte for so long ends a stream; 0: no such limit
    size_t max_body = size_t{16} << 20;
};

// The error of an answer that is no success: Denied 401 403, NotFound 404 410, Exists 409, Exhausted 429, Timeout 408 504, Invalid other
// 4xx, Protocol a redirect, Unavailable 5xx. The text has the message of a Status object, on one line, cut.
[[nodiscard]] base::Error error_of(const Request& request, const Reply& reply);
// The path without its query, which has tokens of no use to people.
[[nodiscard]] std::string shown(const Request& request);
// Seconds only; the form with a date is not taken. At most five minutes.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view value);

}  // namespace warren::kube
