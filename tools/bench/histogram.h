// SPDX-License-Identifier: Apache-2.0
// Histogram: how often each duration occurred, in nanoseconds, with a relative error below 1 % over the whole range of 64 bits and a fixed
// size: 128 steps for each power of two. A value of the thread that records; those of several threads are merged when they are done.
#pragma once

#include <cstdint>
#include <vector>

namespace warren::bench {

class Histogram {
  public:
    Histogram();
    void record(uint64_t ns);
    void merge(const Histogram& other);

    [[nodiscard]] uint64_t count() const { return count_; }
    [[nodiscard]] uint64_t max() const { return max_; }
    // The duration that a share of the recorded ones (0 to 1) does not exceed, rounded up to its step; 0 when nothing was recorded.
    [[nodiscard]] uint64_t quantile(double share) const;

  private:
    std::vector<uint64_t> steps_;
    uint64_t count_ = 0;
    uint64_t max_ = 0;
};

}  // namespace warren::bench
