// SPDX-License-Identifier: Apache-2.0
// `warren-bench load`: one kind of load against `warren-bench serve`, its figures as one line of JSON: ops, failed, bytes, seconds,
// per_second, gbps, p50_us, p90_us, p99_us, p999_us, max_us. A few threads with an epoll each; connections are spread over them.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace warren::bench {

enum class LoadMode : uint8_t {
    Bulk,     // bytes one way over open connections, as many as the receiver says it got; gbps
    Request,  // so many bytes there and back over open connections; one latency each
    Connect,  // connect, one byte there and back, close; one latency each
    Idle,     // opened, asked once, held, asked again; a first line of JSON says when all are open
};

struct LoadOptions {
    LoadMode mode = LoadMode::Request;
    std::string to;
    uint32_t ports = 1;  // of the server, consecutive; connections take turns
    double seconds = 2;
    uint32_t connections = 1;  // workers, for Connect
    uint32_t bytes = 1'024;    // of a request
    uint32_t threads = 2;      // no more than connections
    // Operations a second in all; 0: each connection begins the next when the last one has ended. With a rate an operation's latency counts
    // from when it was due, so one that waited behind a slow one is as slow as it was for whoever wanted it (no coordinated omission).
    double rate = 0;
    bool reverse = false;  // Bulk: the server sends
};

[[nodiscard]] base::Result<std::string> run_load(const LoadOptions& options);

// What the modes share: where connection number i goes, and the time.
using LoadClock = std::chrono::steady_clock;
[[nodiscard]] base::Result<base::SockAddr> load_target(const LoadOptions& options, uint32_t i);
// Connection number i of kind Echo, after one byte there and back: what opening costs along the way, a handshake, has been paid.
[[nodiscard]] base::Result<base::Fd> open_asked(const LoadOptions& options, uint32_t i);
// How many of the connections thread number t has: t, t + threads, t + 2 * threads ...
[[nodiscard]] uint32_t load_share(const LoadOptions& options, uint32_t t);

[[nodiscard]] base::Result<std::string> load_bulk(const LoadOptions& options);
[[nodiscard]] base::Result<std::string> load_exchanges(const LoadOptions& options);
[[nodiscard]] base::Result<std::string> load_idle(const LoadOptions& options);

}  // namespace warren::bench
