// SPDX-License-Identifier: Apache-2.0
// HttpServer: a small HTTP/1.1 server for the admin, metrics and readiness ports (data-plane contract 9.6), each on a thread of its own and
// never on one of the data plane. Bounds: connections, 2 s for a head, idle and write deadlines; when all connections are taken, the one
// that has waited longest for its client makes room, so that nobody can keep a probe out by staying connected.
//
// start() and the destructor belong to main; the handler runs on the server's thread, one call at a time. It must not outlive what it uses.
#pragma once

#include "base/http_request.h"
#include "base/ip.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::base {

struct HttpServerOptions {
    std::string name;                 // in errors and logs: "admin"
    std::vector<SockAddr> addresses;  // a wildcard IPv6 address takes IPv4 too
    size_t max_connections = 32;
    std::chrono::milliseconds head_timeout{2000};
    std::chrono::milliseconds idle_timeout{30'000};
    std::chrono::milliseconds write_timeout{10'000};  // without any progress
};

struct HttpServerStats {
    uint64_t requests = 0;
    uint64_t refused_requests = 0;     // answered with an error because they were no HTTP
    uint64_t refused_connections = 0;  // no room
    uint64_t evicted = 0;              // made room
    uint64_t timeouts = 0;
};

class HttpServer {
  public:
    using Handler = std::function<HttpResponse(const HttpRequest&)>;

    // An IPv6 address that this machine does not have is left out while another one is there; any other failure to listen is an error.
    static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, Handler handler);
    // Cuts what is connected and waits for the thread.
    virtual ~HttpServer() = default;

    // As bound: the ports are real.
    [[nodiscard]] virtual const std::vector<SockAddr>& addresses() const = 0;
    [[nodiscard]] virtual HttpServerStats stats() const = 0;
};

// Loopback (v4, and v6 if asked) and wildcard addresses for a port.
[[nodiscard]] std::vector<SockAddr> loopback_addresses(uint16_t port, bool ipv6);
[[nodiscard]] std::vector<SockAddr> wildcard_address(uint16_t port, bool ipv6);

}  // namespace warren::base
