// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/reconnect.h"
#include "tests/catch.h"

using namespace warren;
using namespace std::chrono_literals;
using xds::classify;
using xds::Retry;
using xds::Termination;

TEST_CASE("xds reconnect: how streams end, by status, text and whether anything was said") {
    struct Case {
        int status;
        const char* text;
        bool answered;
        Termination reason;
        Retry retry;
    };
    const Case cases[] = {
        {0, "", true, Termination::Complete, Retry::AtOnce},
        {0, "", false, Termination::Complete, Retry::Backoff},
        {1, "", true, Termination::Reconnect, Retry::Soon},
        {2, "", true, Termination::Reconnect, Retry::Soon},
        {4, "", true, Termination::Reconnect, Retry::Soon},
        {14, "transport is closing", true, Termination::Reconnect, Retry::Soon},
        {14, "Received GOAWAY: max age", true, Termination::Reconnect, Retry::Soon},
        {14, "Socket closed", true, Termination::Reconnect, Retry::Soon},
        {14, "keepalive watchdog timeout", true, Termination::Reconnect, Retry::Soon},
        {14, "overloaded", true, Termination::Error, Retry::Backoff},
        {14, "", true, Termination::Error, Retry::Backoff},
        {3, "", true, Termination::Error, Retry::Backoff},
        {7, "transport is closing", true, Termination::Error, Retry::Backoff},
        {8, "", true, Termination::Error, Retry::Backoff},
        {16, "", true, Termination::Error, Retry::Backoff},
        {2, "", false, Termination::ConnectionError, Retry::Backoff},
        {14, "transport is closing", false, Termination::ConnectionError, Retry::Backoff},
        {16, "", false, Termination::ConnectionError, Retry::Backoff},
        {99, "", true, Termination::Error, Retry::Backoff},
    };
    for (const Case& c : cases) {
        const xds::End end = classify(c.status, c.text, c.answered);
        INFO(end.detail << (c.answered ? " after an answer" : " without an answer"));
        CHECK(end.reason == c.reason);
        CHECK(end.retry == c.retry);
    }
    CHECK(classify(7, "not you", true).detail == "PERMISSION_DENIED: not you");
    CHECK(classify(7, std::string(10'000, 'x'), true).detail.size() < 600);
}

TEST_CASE("xds reconnect: 20 ms doubled up to the longest wait, each within a fifth; good ends and long streams start over") {
    const std::chrono::nanoseconds longest = GENERATE(xds::Reconnect::kRemote, xds::Reconnect::kLocal);
    xds::Reconnect reconnect(base::RandomEngine(1), longest);
    const xds::End bad{Termination::Error, Retry::Backoff, ""};
    for (int round = 0; round < 3; ++round) {
        std::chrono::nanoseconds nominal = 20ms;
        for (int i = 0; i < 20; ++i) {
            const auto pause = reconnect.wait_after(bad, i == 0 && round == 2 ? 15s : 1s);
            CHECK(pause >= nominal * 4 / 5);
            CHECK(pause <= nominal * 6 / 5);
            nominal = std::min(nominal * 2, longest);
        }
        if (round == 0) CHECK(reconnect.wait_after({Termination::Reconnect, Retry::Soon, ""}, 1s) == 10ms);
    }
    CHECK(reconnect.wait_after({Termination::Complete, Retry::AtOnce, ""}, 1s) == 0ms);
    CHECK(reconnect.wait_after(bad, 1s) <= 24ms);
}

TEST_CASE("xds reconnect: the reasons have the names of the metric") {
    CHECK(to_string(Termination::ConnectionError) == "ConnectionError");
    CHECK(to_string(Termination::Error) == "Error");
    CHECK(to_string(Termination::Reconnect) == "Reconnect");
    CHECK(to_string(Termination::Complete) == "Complete");
}
