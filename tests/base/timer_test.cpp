// SPDX-License-Identifier: Apache-2.0
#include "base/timer.h"

#include "tests/catch.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

using warren::base::Timer;
using warren::base::TimerWheel;

namespace {

// A timer that notes its id, and then does what the test asks.
struct Probe {
    explicit Probe(std::vector<int>& log, int id = 0, std::function<void()> then = {}) : log_(log), id_(id), then_(std::move(then)) {}
    void on_time() {
        log_.push_back(id_);
        if (then_) then_();
    }
    std::vector<int>& log_;
    int id_;
    std::function<void()> then_;
    Timer timer = Timer::of<&Probe::on_time>(*this);
};

}  // namespace

TEST_CASE("timer: fires at its millisecond, not before, and once") {
    // Distances that need every level of the wheel, on either side of its borders.
    const uint64_t start = GENERATE(0u, 1u, 63u, 4095u, 1'700'000'123u);
    for (const uint64_t delay :
         {1ull, 63ull, 64ull, 65ull, 4095ull, 4096ull, 262'144ull, 1ull << 24, (1ull << 30) + 7, 1ull << 36, 1ull << 41}) {
        TimerWheel wheel(start);
        std::vector<int> log;
        Probe p(log);
        wheel.arm(p.timer, start + delay);
        CHECK(wheel.advance(start + delay - 1) == 0);
        CHECK(p.timer.armed());
        CHECK(wheel.advance(start + delay) == 1);
        CHECK_FALSE(p.timer.armed());
        CHECK(wheel.advance(start + delay + 100'000) == 0);
        CHECK(log.size() == 1);
    }
}

TEST_CASE("timer: a time that has passed means the next millisecond, and none is lost at the end of time") {
    TimerWheel wheel(1000);
    std::vector<int> log;
    Probe past(log, 1);
    Probe never(log, 2);
    wheel.arm(past.timer, 5);
    wheel.arm(never.timer, UINT64_MAX);
    CHECK(wheel.next_ms() == 1001);
    CHECK(wheel.advance(999) == 0);
    CHECK(wheel.advance(1001) == 1);
    CHECK(wheel.advance((1ull << 42) - 2) == 0);
    CHECK(never.timer.armed());
}

TEST_CASE("timer: pushing it out and pulling it in both count from the last arming") {
    TimerWheel wheel(0);
    std::vector<int> log;
    Probe p(log);
    wheel.arm(p.timer, 10);
    wheel.arm(p.timer, 500);
    CHECK(wheel.advance(499) == 0);
    wheel.arm(p.timer, 9000);
    wheel.arm(p.timer, 600);
    CHECK(p.timer.when_ms() == 600);
    CHECK(wheel.advance(600) == 1);
    wheel.arm(p.timer, 700);
    wheel.disarm(p.timer);
    wheel.disarm(p.timer);
    CHECK_FALSE(wheel.next_ms().has_value());
    CHECK(wheel.advance(10'000) == 0);
}

TEST_CASE("timer: a callback may destroy its own timer, others that are due, and arm again") {
    TimerWheel wheel(0);
    std::vector<int> log;
    std::map<int, std::unique_ptr<Probe>> probes;
    probes[1] = std::make_unique<Probe>(log, 1, [&] { probes.erase(3); });
    probes[2] = std::make_unique<Probe>(log, 2, [&] { wheel.arm(probes[2]->timer, 0); });
    probes[3] = std::make_unique<Probe>(log, 3);
    probes[4] = std::make_unique<Probe>(log, 4, [&] { wheel.disarm(probes[5]->timer); });
    probes[5] = std::make_unique<Probe>(log, 5);
    probes[6] = std::make_unique<Probe>(log, 6, [&] { wheel.arm(probes[7]->timer, 80); });
    probes[7] = std::make_unique<Probe>(log, 7);
    auto self = std::make_unique<Probe>(log, 8);
    self->then_ = [&] { self.reset(); };
    for (auto& [id, p] : probes) wheel.arm(p->timer, 50);
    wheel.arm(self->timer, 50);
    CHECK(wheel.advance(60) == 5);
    CHECK(log == std::vector<int>{1, 2, 4, 6, 8});
    CHECK(self == nullptr);
    // What a callback arms waits for a later advance, even when its time has passed: no endless loop.
    CHECK(wheel.advance(61) == 1);
    CHECK(log.back() == 2);
    CHECK(wheel.advance(80) == 2);
    CHECK(log.back() == 7);
}

TEST_CASE("timer: the wheel may die before its timers") {
    std::vector<int> log;
    Probe p(log);
    Probe q(log);
    {
        TimerWheel wheel(0);
        wheel.arm(p.timer, 10);
        wheel.arm(q.timer, 100'000);
    }
    CHECK_FALSE(p.timer.armed());
    TimerWheel other(0);
    other.arm(p.timer, 5);
    CHECK(other.advance(5) == 1);
}

TEST_CASE("timer: many at random behave as a sorted list does") {
    const auto seed = GENERATE(1u, 2u, 3u);
    std::mt19937 random(seed);
    const auto below = [&](uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random); };
    constexpr int kTimers = 400;
    uint64_t now = 1'000'000;
    TimerWheel wheel(now);
    std::vector<int> log;
    std::deque<Probe> probes;
    for (int i = 0; i < kTimers; ++i) probes.emplace_back(log, i);
    std::map<int, uint64_t> model;  // id -> deadline

    for (int round = 0; round < 20'000; ++round) {
        for (uint64_t n = below(8); n > 0; --n) {
            const int id = static_cast<int>(below(kTimers));
            Timer& timer = probes[static_cast<size_t>(id)].timer;
            if (below(4) == 0) {
                wheel.disarm(timer);
                model.erase(id);
            } else {
                const uint64_t when = now + below(uint64_t{1} << below(26));
                wheel.arm(timer, when);
                model[id] = std::max(when, now + 1);
            }
        }
        if (const auto next = wheel.next_ms(); next.has_value() == model.empty()) FAIL("next_ms disagrees on whether any is armed");
        // Mostly small steps, sometimes exactly to where the wheel says, sometimes far.
        const uint64_t kind = below(100);
        const uint64_t before = now;
        now = kind < 90 ? now + below(40) : kind < 97 ? wheel.next_ms().value_or(now) : now + below(3'000'000);
        std::vector<uint64_t> expected;
        for (auto it = model.begin(); it != model.end();) {
            if (it->second <= now) {
                expected.push_back(it->second);
                it = model.erase(it);
            } else {
                ++it;
            }
        }
        if (!expected.empty() && wheel.next_ms() > *std::min_element(expected.begin(), expected.end())) FAIL("next_ms is late");
        log.clear();
        const size_t fired = wheel.advance(now);
        std::vector<uint64_t> deadlines;
        for (const int id : log) deadlines.push_back(probes[static_cast<size_t>(id)].timer.when_ms());
        if (!std::is_sorted(deadlines.begin(), deadlines.end())) FAIL("fired out of order");
        std::sort(expected.begin(), expected.end());
        if (deadlines != expected || fired != expected.size()) {
            FAIL("round " << round << ", " << before << " to " << now << ": fired " << fired << ", expected " << expected.size());
        }
    }
    size_t armed = 0;
    for (const Probe& p : probes) armed += p.timer.armed() ? 1u : 0u;
    CHECK(armed == model.size());
}
