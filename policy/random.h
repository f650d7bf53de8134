// SPDX-License-Identifier: Apache-2.0
// A small seeded generator (splitmix64): choices of endpoints need no secrecy but must be repeatable in tests and cheap. One per thread.
#pragma once

#include <cstdint>

namespace warren::policy {

class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // Uniform in [0, n); n must not be 0. The bias of the multiply-shift is below 2^-64 * n.
    uint64_t below(uint64_t n) { return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64); }

  private:
    uint64_t state_;
};

}  // namespace warren::policy
