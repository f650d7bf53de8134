// SPDX-License-Identifier: Apache-2.0
// Repeated events, once: the first of a key is logged, further ones are counted, and one line per interval says how many there were. Any
// thread. The table is bounded; keys beyond the bound share one entry, so a peer that varies its key cannot log or remember without end.
//
//   WARREN_LOG_LIMITED(kTls, log::Level::Warn, limiter, peer, "handshake failed", {"peer", peer});
//
// The owner calls report() from a timer, else the count of a key that stays quiet is told only when it comes back.
#pragma once

#include "base/log.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::base::log {

class RepeatLimiter {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::string_view kOtherKeys = "other keys";

    explicit RepeatLimiter(std::chrono::milliseconds interval = std::chrono::seconds(30), size_t max_keys = 1000)
        : interval_(interval), max_keys_(max_keys) {}

    struct Verdict {
        bool log = false;                  // write this event
        std::optional<uint64_t> repeated;  // events of the key held back since its last line; absent when none were
    };
    Verdict note(std::string_view key, Clock::time_point now = Clock::now());

    // Keys whose interval ended: those with held back events, which begin a new interval, and forgets the quiet ones.
    std::vector<std::pair<std::string, uint64_t>> due(Clock::time_point now = Clock::now());
    // One line "repeated N times" with the key, for each of due().
    void report(const Area& area, Level level, Clock::time_point now = Clock::now());

    [[nodiscard]] size_t keys() const;

  private:
    struct Entry {
        Clock::time_point since;
        uint64_t held = 0;
    };
    const std::chrono::milliseconds interval_;
    const size_t max_keys_;
    mutable std::mutex mutex_;
    std::map<std::string, Entry, std::less<>> entries_;  // max_keys_, and kOtherKeys
};

}  // namespace warren::base::log

#define WARREN_LOG_LIMITED(area, level, limiter, key, message, ...)                                                  \
    do {                                                                                                             \
        if ((area).enabled(level)) {                                                                                 \
            if (const auto warren_verdict = (limiter).note(key); warren_verdict.log)                                 \
                (area).write((level), (message), {__VA_ARGS__ __VA_OPT__(, ){"repeated", warren_verdict.repeated}}); \
        }                                                                                                            \
    } while (false)
