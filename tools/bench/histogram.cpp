// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace warren::bench {

namespace {

constexpr unsigned kStepBits = 7;
constexpr uint64_t kSteps = 1u << kStepBits;
constexpr size_t kSize = (64 - kStepBits) * kSteps + kSteps;

// Values below 2 * kSteps are their own step; above, the leading kStepBits + 1 bits count.
unsigned shift_of(uint64_t value) {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    return width <= kStepBits + 1 ? 0 : width - kStepBits - 1;
}

size_t step_of(uint64_t value) {
    const unsigned shift = shift_of(value);
    return static_cast<size_t>(shift * kSteps + (value >> shift));
}

// The largest value of a step.
uint64_t end_of(size_t step) {
    if (step < 2 * kSteps) return step;
    const auto shift = static_cast<unsigned>(step / kSteps) - 1;
    const uint64_t leading = step - shift * kSteps;
    return (leading << shift) + ((uint64_t{1} << shift) - 1);
}

}  // namespace

Histogram::Histogram() : steps_(kSize) {}

void Histogram::record(uint64_t ns) {
    ++steps_[step_of(ns)];
    ++count_;
    max_ = std::max(max_, ns);
}

void Histogram::merge(const Histogram& other) {
    for (size_t i = 0; i < kSize; ++i) steps_[i] += other.steps_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

uint64_t Histogram::quantile(double share) const {
    const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
    uint64_t seen = 0;
    for (size_t i = 0; i < kSize; ++i) {
        seen += steps_[i];
        if (seen >= wanted) return std::min(end_of(i), max_);
    }
    return max_;
}

}  // namespace warren::bench
