// SPDX-License-Identifier: Apache-2.0
// One request to an admin port, answer and all: blocking, with a deadline and a bound on the answer. libcurl stays inside. No redirects, no
// proxy, no environment. Main's thread.
#pragma once

#include "base/result.h"

#include <chrono>
#include <string>

namespace warren::tools {

struct HttpAsk {
    std::string address;  // "HOST:PORT", or "unix:/PATH" of a socket
    std::string path;     // with its query
    bool post = false;
    std::chrono::milliseconds deadline = std::chrono::seconds(10);
    size_t max_body = size_t{512} << 20;  // the dump of a mesh of 100,000 workloads is some 100 MB
};

struct HttpReply {
    long status = 0;
    std::string body;
    std::string date;  // the Date header, if any
};

// Unavailable when nobody listens, Timeout, Exhausted when the answer is larger than the bound. Any status is an answer.
[[nodiscard]] base::Result<HttpReply> http_ask(const HttpAsk& ask);
[[nodiscard]] std::string url_escape(const std::string& text);

}  // namespace warren::tools
