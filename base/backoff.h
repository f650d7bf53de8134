// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next attempt. Backoff is 32 bytes of state without a clock or a timer; its owner keeps those and one
// RandomEngine per thread, which it passes in (seeded in a test, the waits are repeatable). No errors: every sum saturates.
//
// Decorrelated: min(cap, uniform(base, 3 * previous)). Reconnects of a fleet drift apart within a few attempts.
// Exponential: base, twice that and so on up to cap, each wait within 20 % of its nominal value. For the certificate retry of the
// data-plane contract (section 2.5: 1 s to 150 s). The cap bounds the nominal value: cutting the jitter off there instead would let half of
// a fleet wait for exactly cap.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace warren::base {

using RandomEngine = std::mt19937_64;

// Seeded by the kernel. For jitter and load spreading; never for secrets.
[[nodiscard]] RandomEngine make_random_engine();

class Backoff {
  public:
    using Duration = std::chrono::nanoseconds;
    enum class Mode : uint8_t { Decorrelated, Exponential };

    // base below 1 ns is taken as 1 ns, cap below base as base.
    Backoff(Mode mode, Duration base, Duration cap);

    // The wait before the next attempt; at least base (exponential: 80 % of it).
    [[nodiscard]] Duration next(RandomEngine& random);
    // After a success: the next wait is a first one again.
    void reset() { current_ = base_; }

  private:
    Duration base_, cap_;
    Duration current_;  // decorrelated: the previous wait; exponential: the next nominal one
    Mode mode_;
};

}  // namespace warren::base
