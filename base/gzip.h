// SPDX-License-Identifier: Apache-2.0
// gzip (RFC 1952) of HTTP answers that are long texts, for clients that take it: Prometheus asks for it, and a node's metrics shrink to a
// twentieth. Pure values, any thread; zlib holds some 256 KiB while it works. An answer that cannot be compressed stays as it is.
#pragma once

#include "base/http_request.h"

#include <string_view>

namespace warren::base {

// What Accept-Encoding says of gzip (RFC 9110 12.5.3). Absent: no.
[[nodiscard]] bool accepts_gzip(std::string_view accept_encoding) noexcept;

// Compresses the body if the client takes it and it is worth it, and says so; `vary` in any case, for caches.
void gzip_if_accepted(const HttpRequest& request, HttpResponse& response);

}  // namespace warren::base
