// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "tests/catch.h"

#include <latch>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using warren::base::FakeClock;
using warren::base::parse_rfc3339;
using warren::base::to_rfc3339;
using warren::base::WallTime;

TEST_CASE("clock: the real clock reads both clocks and does not run backwards") {
    const warren::base::RealClock clock;
    const auto before = clock.now();
    CHECK(clock.now() >= before);
    CHECK(clock.wall() > parse_rfc3339("2020-01-01T00:00:00Z").value());
}

TEST_CASE("clock: the fake clock moves only when told") {
    FakeClock clock;
    const auto mono = clock.now();
    const auto wall = clock.wall();
    CHECK(to_rfc3339(wall, 0) == "2024-01-01T00:00:00Z");
    CHECK(clock.now() == mono);
    clock.advance(1500ms);
    CHECK(clock.now() - mono == 1500ms);
    CHECK(clock.wall() - wall == 1500ms);
    clock.set_wall(wall - 24h);
    CHECK(clock.wall() == wall - 24h);
    CHECK(clock.now() - mono == 1500ms);
}

TEST_CASE("clock: threads may advance the fake clock together") {
    FakeClock clock;
    const auto mono = clock.now();
    std::latch together(4);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            together.arrive_and_wait();
            for (int i = 0; i < 100'000; ++i) clock.advance(1us);
        });
    for (auto& thread : threads) thread.join();
    CHECK(clock.now() - mono == 400ms);
}

TEST_CASE("clock: times print as RFC 3339 with the digits asked for") {
    const WallTime time = WallTime(1'706'745'599s) + 123'456'789ns;
    CHECK(to_rfc3339(time, 0) == "2024-01-31T23:59:59Z");
    CHECK(to_rfc3339(time) == "2024-01-31T23:59:59.123Z");
    CHECK(to_rfc3339(time, 6) == "2024-01-31T23:59:59.123456Z");
    CHECK(to_rfc3339(time, 9) == "2024-01-31T23:59:59.123456789Z");
    CHECK(to_rfc3339(time, 99) == "2024-01-31T23:59:59.123456789Z");
    CHECK(to_rfc3339(WallTime(0s), 1) == "1970-01-01T00:00:00.0Z");
    CHECK(to_rfc3339(WallTime(-1ns), 9) == "1969-12-31T23:59:59.999999999Z");
    CHECK(to_rfc3339(WallTime(0s) + 999'999'999ns, 3) == "1970-01-01T00:00:00.999Z");  // cut, not rounded into the next second
    CHECK(to_rfc3339(WallTime::max(), 0) == "2262-04-11T23:47:16Z");
    CHECK(to_rfc3339(WallTime::min(), 0) == "1677-09-21T00:12:43Z");
}

TEST_CASE("clock: RFC 3339 parses with any offset and fraction") {
    struct Row {
        const char* text;
        const char* utc;
    };
    const Row rows[] = {
        {"2024-01-31T23:59:59Z", "2024-01-31T23:59:59.000000000Z"},
        {"2024-02-29T00:00:00.5Z", "2024-02-29T00:00:00.500000000Z"},
        {"2024-01-01T01:30:00+01:30", "2024-01-01T00:00:00.000000000Z"},
        {"2023-12-31T19:00:00.000000001-05:00", "2024-01-01T00:00:00.000000001Z"},
        {"1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250000000Z"},
        {"1678-01-01T00:00:00Z", "1678-01-01T00:00:00.000000000Z"},
        {"2261-12-31T23:59:59.999999999Z", "2261-12-31T23:59:59.999999999Z"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        const auto parsed = parse_rfc3339(row.text);
        REQUIRE(parsed);
        CHECK(to_rfc3339(*parsed, 9) == row.utc);
    }
}

TEST_CASE("clock: what is not RFC 3339, or out of range, is refused") {
    for (const char* text : {"",
                             "2024-01-31",
                             "2024-01-31T23:59:59",
                             "2024-01-31 23:59:59Z",
                             "2024-01-31t23:59:59z",
                             "2024-02-30T00:00:00Z",
                             "2023-02-29T00:00:00Z",
                             "2024-00-01T00:00:00Z",
                             "2024-13-01T00:00:00Z",
                             "2024-01-00T00:00:00Z",
                             "2024-01-01T24:00:00Z",
                             "2024-01-01T00:60:00Z",
                             "2024-12-31T23:59:60Z",
                             "2024-01-01T00:00:00.Z",
                             "2024-01-01T00:00:00.1234567890Z",
                             "2024-01-01T00:00:00+0100",
                             "2024-01-01T00:00:00+24:00",
                             "2024-01-01T00:00:00ZZ",
                             " 2024-01-01T00:00:00Z",
                             "2024-1-1T00:00:00Z",
                             "-024-01-01T00:00:00Z",
                             "2024-01-01T00:00:00.12",
                             "0001-01-01T00:00:00Z",
                             "1677-09-21T00:12:43Z",
                             "9999-12-31T23:59:59Z"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_rfc3339(text));
    }
    CHECK(parse_rfc3339("9999-12-31T23:59:59Z").error().message() ==
          "time '9999-12-31T23:59:59Z' is out of range; give a year from 1678 to 2261");
}
