// SPDX-License-Identifier: Apache-2.0
#include "base/backoff.h"

#include <sys/random.h>

#include <algorithm>

namespace warren::base {

namespace {

using Duration = Backoff::Duration;

// Both are positive.
Duration saturating_add(Duration a, Duration b) { return a > Duration::max() - b ? Duration::max() : a + b; }

Duration uniform(Duration least, Duration most, RandomEngine& random) {
    return Duration(std::uniform_int_distribution<Duration::rep>(least.count(), most.count())(random));
}

}  // namespace

RandomEngine make_random_engine() {
    uint64_t seed = 0;
    // Where the kernel refuses (an old sandbox), the time will do: what matters is that two nodes differ, not that nobody can guess.
    if (::getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    return RandomEngine(seed);
}

Backoff::Backoff(Mode mode, Duration base, Duration cap)
    : base_(std::max(base, Duration(1))), cap_(std::max(cap, base_)), current_(base_), mode_(mode) {}

Duration Backoff::next(RandomEngine& random) {
    if (mode_ == Mode::Decorrelated) {
        const Duration most = saturating_add(saturating_add(current_, current_), current_);
        return current_ = std::min(cap_, uniform(base_, most, random));
    }
    const Duration nominal = current_;
    current_ = std::min(cap_, saturating_add(nominal, nominal));
    const Duration jitter = nominal / 5;
    return uniform(nominal - jitter, saturating_add(nominal, jitter), random);
}

}  // namespace warren::base
