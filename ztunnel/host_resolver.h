// SPDX-License-Identifier: Apache-2.0
// HostResolver: the addresses of workloads that have a hostname and no address (data-plane contract 5.3, IP selection 4), by the agent's
// own resolver (c-ares over /etc/resolv.conf and /etc/hosts), on a thread of its own: a name server that never answers holds up nobody but
// the connections that ask for its names.
//
// Any thread may resolve(); the answer is posted to the asking loop, which must outlive the resolver. Whoever asks needs a deadline of its
// own as well: an answer is lost, and counted, when that loop's mailbox is full. Bounds: cached names, names being resolved, those who
// wait.
#pragma once

#include "base/ip.h"
#include "base/loop.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

class HostResolver {
  public:
    struct Options {
        bool ipv6 = true;  // off: A records only (contract 8.6)
        size_t cache_entries = 4'096;
        size_t names_under_way = 256;
        size_t waiters = 4'096;
        std::chrono::milliseconds patience{5'000};  // of one who asks
        std::chrono::milliseconds try_timeout{2'000};
        std::vector<base::SockAddr> servers;  // empty: those of /etc/resolv.conf, with its search list
    };
    struct Stats {
        uint64_t cache_hits = 0;
        uint64_t refused = 0;  // a limit was reached
        uint64_t lost = 0;     // answers whose loop had no room
        size_t cached = 0;
    };
    enum class Prefer : uint8_t { V4, V6 };
    // NotFound: the name has no address. Timeout, Unavailable: no answer. Exhausted: a limit.
    using Done = std::function<void(base::Result<base::IpAddr>)>;

    static base::Result<std::unique_ptr<HostResolver>> start(Options options);
    ~HostResolver();
    HostResolver(const HostResolver&) = delete;
    HostResolver& operator=(const HostResolver&) = delete;

    // done runs on `loop`, once, unless the resolver ends before. One of the addresses of the preferred family at random, else of any.
    void resolve(std::string_view hostname, Prefer prefer, base::Loop& loop, Done done);
    [[nodiscard]] Stats stats() const;

  private:
    class Engine;
    explicit HostResolver(std::unique_ptr<Engine> engine);
    std::unique_ptr<Engine> engine_;
};

}  // namespace warren::ztunnel
