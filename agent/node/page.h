// SPDX-License-Identifier: Apache-2.0
// The node page: the files of agent/node/page/, inside the agent, and what the admin port demands of whoever asks. The page only reads
// /status and /flows; it loads nothing from elsewhere, which its Content-Security-Policy makes the browser enforce. Pure; any thread.
#pragma once

#include "base/http_request.h"

#include <optional>
#include <span>
#include <string_view>

namespace warren::node {

struct EmbeddedFile {
    std::string_view name;  // "page.js"
    std::string_view bytes;
};

[[nodiscard]] std::span<const EmbeddedFile> page_files();

// "/" and the page's files; absent for any other path.
[[nodiscard]] std::optional<base::HttpResponse> page_answer(std::string_view path);

// What a web page of somebody else's may not do through the browser of whoever looks at ours: read by a name that it makes point at
// loopback (DNS rebinding), or change something (a POST carries its Origin). Absent: go on. loopback: the port is on loopback, where a
// client names it by address or as localhost; elsewhere it may have any name.
[[nodiscard]] std::optional<base::HttpResponse> refuse_foreign_page(const base::HttpRequest& request, bool loopback);

// For every answer of the admin port: names in it are never a program to a browser.
void add_page_headers(base::HttpResponse& response);

}  // namespace warren::node
