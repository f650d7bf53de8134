// SPDX-License-Identifier: Apache-2.0
// How many streams there may be: in all, of one address, and new ones in a second (Kubernetes contract 5.1, rate). Any thread; no I/O.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace warren::xds {

class Admission {
  public:
    struct Limits {
        size_t streams = 0, per_peer = 0;
        uint32_t per_second = 0;
    };
    explicit Admission(Limits limits) : limits_(limits), tokens_(limits.per_second) {}

    // key: peer_key() of the stream. Each success is followed by one leave(). Exhausted says which limit.
    base::Result<void> enter(std::string_view key, base::MonoTime now);
    void leave(std::string_view key);

  private:
    const Limits limits_;
    std::mutex mutex_;
    std::map<std::string, size_t, std::less<>> peers_;
    size_t streams_ = 0;
    double tokens_;
    base::MonoTime filled_{};
};

// gRPC's name of a peer without its port. Unix sockets have none to tell callers apart by: empty, and no limit of its own.
[[nodiscard]] std::string peer_key(std::string_view peer);

}  // namespace warren::xds
