// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/histogram.h"

#include "tests/catch.h"

#include <cstdint>
#include <limits>

using warren::bench::Histogram;

TEST_CASE("histogram: an empty one says zero") {
    const Histogram h;
    CHECK(h.count() == 0);
    CHECK(h.quantile(0.5) == 0);
    CHECK(h.max() == 0);
}

TEST_CASE("histogram: small durations are exact and large ones within one per cent") {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{255}, uint64_t{256}, uint64_t{257},
                                 uint64_t{1'000'003}, uint64_t{59'999'999'999}, std::numeric_limits<uint64_t>::max() / 2}) {
        Histogram h;
        h.record(value);
        h.record(std::numeric_limits<uint64_t>::max());  // so that the largest does not cut the step
        const uint64_t told = h.quantile(0.5);
        CHECK(told >= value);
        CHECK(static_cast<double>(told - value) <= static_cast<double>(value) * 0.01);
        if (value < 256) CHECK(told == value);
        CHECK(h.max() == std::numeric_limits<uint64_t>::max());
    }
}

TEST_CASE("histogram: quantiles are those of what was recorded, over all parts") {
    Histogram odd, even;
    for (uint64_t i = 1; i <= 1'000; ++i) (i % 2 ? odd : even).record(i * 1'000);
    odd.merge(even);
    CHECK(odd.count() == 1'000);
    CHECK(odd.max() == 1'000'000);
    for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
        const auto told = static_cast<double>(odd.quantile(share));
        CHECK(told >= share * 1e6);
        CHECK(told <= share * 1e6 * 1.01);
    }
    CHECK(odd.quantile(1.0) == 1'000'000);
}
