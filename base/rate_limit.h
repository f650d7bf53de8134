// SPDX-License-Identifier: Apache-2.0
// RateLimit: a token bucket per key, in a bounded table. Any thread. The key least recently seen goes when the table is full; it comes back
// with a full bucket, which is the price of the bound. peer_key() makes keys of gRPC's peer texts, one for a whole IPv6 /64: a host has
// all of it.
#pragma once

#include "base/clock.h"

#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace warren::base {

struct RateLimitOptions {
    double per_second = 250;
    double burst = 1'000;
    size_t max_keys = 10'000;
};

class RateLimit {
  public:
    RateLimit(RateLimitOptions options, const Clock& clock) : options_(options), clock_(clock) {}

    // One more? False: too many.
    [[nodiscard]] bool take(std::string_view key) { return spend(key, true); }
    // Would there be one more? Takes nothing.
    [[nodiscard]] bool peek(std::string_view key) { return spend(key, false); }
    [[nodiscard]] size_t keys() const;
    [[nodiscard]] uint64_t refused() const;

  private:
    struct Bucket {
        std::string key;
        double left = 0;
        MonoTime at;
    };
    bool spend(std::string_view key, bool take_it);

    const RateLimitOptions options_;
    const Clock& clock_;
    mutable std::mutex mutex_;                                                 // all below
    std::list<Bucket> buckets_;                                                // most recently seen first
    std::unordered_map<std::string_view, std::list<Bucket>::iterator> index_;  // keys are the buckets' own texts
    uint64_t refused_ = 0;
};

// "ipv4:10.0.0.1:4711" and "ipv6:[2001:db8::1]:4711" without the port; anything else, such as a Unix socket's, as it is.
[[nodiscard]] std::string peer_key(std::string_view grpc_peer);

}  // namespace warren::base
