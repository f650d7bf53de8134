// SPDX-License-Identifier: Apache-2.0
#include "base/backoff.h"

#include "tests/catch.h"

#include <algorithm>
#include <set>

using namespace std::chrono_literals;
using warren::base::Backoff;
using warren::base::RandomEngine;
using Duration = Backoff::Duration;

TEST_CASE("backoff: decorrelated waits stay between base, three times the previous one, and the cap") {
    RandomEngine random(1);
    Backoff backoff(Backoff::Mode::Decorrelated, 10ms, 15s);
    Duration previous = 10ms;
    size_t at_cap = 0, below_previous = 0;
    for (int i = 0; i < 2000; ++i) {
        const Duration wait = backoff.next(random);
        REQUIRE(wait >= 10ms);
        REQUIRE(wait <= 15s);
        REQUIRE(wait <= previous * 3);
        at_cap += wait == 15s ? 1 : 0;
        below_previous += wait < previous ? 1 : 0;
        previous = wait;
    }
    CHECK(at_cap > 100);          // it does grow up to the cap
    CHECK(below_previous > 100);  // and does spread again below it
    backoff.reset();
    CHECK(backoff.next(random) <= 30ms);
}

TEST_CASE("backoff: exponential waits double from one second to 150, each within a fifth") {
    RandomEngine random(2);
    Backoff backoff(Backoff::Mode::Exponential, 1s, 150s);
    for (int round = 0; round < 50; ++round) {
        for (const Duration nominal : {Duration(1s), Duration(2s), Duration(4s), Duration(8s), Duration(16s), Duration(32s), Duration(64s),
                                       Duration(128s), Duration(150s), Duration(150s), Duration(150s)}) {
            const Duration wait = backoff.next(random);
            REQUIRE(wait >= nominal * 8 / 10);
            REQUIRE(wait <= nominal * 12 / 10);
        }
        backoff.reset();
    }
}

TEST_CASE("backoff: the jitter of the exponential mode uses its whole range") {
    RandomEngine random(3);
    Backoff backoff(Backoff::Mode::Exponential, 10s, 10s);
    Duration least = 1h, most = 0s;
    for (int i = 0; i < 1000; ++i) {
        const Duration wait = backoff.next(random);
        least = std::min(least, wait);
        most = std::max(most, wait);
    }
    CHECK(least < 8100ms);
    CHECK(most > 11900ms);
}

TEST_CASE("backoff: the same seed gives the same waits, kernel seeds differ") {
    for (const auto mode : {Backoff::Mode::Decorrelated, Backoff::Mode::Exponential}) {
        RandomEngine one(7), two(7);
        Backoff a(mode, 1s, 150s), b(mode, 1s, 150s);
        for (int i = 0; i < 20; ++i) REQUIRE(a.next(one) == b.next(two));
    }
    std::set<uint64_t> firsts;
    for (int i = 0; i < 8; ++i) firsts.insert(warren::base::make_random_engine()());
    CHECK(firsts.size() == 8);
}

TEST_CASE("backoff: extreme settings saturate and never wait for nothing") {
    RandomEngine random(4);
    for (const auto mode : {Backoff::Mode::Decorrelated, Backoff::Mode::Exponential}) {
        Backoff huge(mode, 1s, Duration::max());
        for (int i = 0; i < 500; ++i) REQUIRE(huge.next(random) >= 800ms);
        Backoff full(mode, Duration::max(), Duration::max());
        for (int i = 0; i < 5; ++i) REQUIRE(full.next(random) > Duration::max() / 2);
        Backoff zero(mode, 0s, 0s);
        for (int i = 0; i < 100; ++i) REQUIRE(zero.next(random) == 1ns);
        Backoff inverted(mode, 10s, 1s);
        for (int i = 0; i < 100; ++i) {
            const Duration wait = inverted.next(random);
            REQUIRE(wait >= 8s);
            REQUIRE(wait <= 12s);
        }
    }
}
