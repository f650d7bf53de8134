// SPDX-License-Identifier: Apache-2.0
// How many streams there may be: in all and of one address; and new ones in a second: of one peer and of all (Kubernetes contract 5.1,
// rate). A peer has a bucket of its own, asked first, so what a hostile one is refused is nobody else's loss. Who it is, for the bucket:
// the identity that the handshake proved, else the address. Any thread; no I/O; the table of buckets is bounded. The clock outlives it.
#pragma once

#include "base/clock.h"
#include "base/rate_limit.h"
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
        uint32_t per_second = 0;                       // of all, and as many at once
        double peer_per_second = 0, peer_at_once = 0;  // of one peer
        size_t max_peers = 10'000;                     // whose rate is remembered
    };
    Admission(Limits limits, const base::Clock& clock);

    struct Peer {
        std::string_view address;   // peer_key() of the stream; empty: has no limits of its own
        std::string_view identity;  // proven; may be empty
    };
    // Each success is followed by one leave() of the address. Exhausted says which limit.
    base::Result<void> enter(const Peer& peer);
    void leave(std::string_view address);

    // Streams refused, by the limit they met.
    struct Stats {
        uint64_t streams = 0, peer_streams = 0, rate = 0, peer_rate = 0;
    };
    [[nodiscard]] Stats stats() const;

  private:
    const Limits limits_;
    base::RateLimit peer_rate_, rate_;
    mutable std::mutex mutex_;  // all below
    std::map<std::string, size_t, std::less<>> peers_;
    size_t streams_ = 0;
    Stats stats_;
};

// gRPC's name of a peer without its port, an IPv6 one as its /64. Unix sockets have none to tell callers apart by: empty.
[[nodiscard]] std::string peer_key(std::string_view peer);

}  // namespace warren::xds
