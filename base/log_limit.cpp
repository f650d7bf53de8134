// SPDX-License-Identifier: Apache-2.0
#include "base/log_limit.h"

#include <fmt/format.h>

namespace warren::base::log {

RepeatLimiter::Verdict RepeatLimiter::note(std::string_view key, Clock::time_point now) {
    const std::scoped_lock lock(mutex_);
    auto at = entries_.find(key);
    if (at == entries_.end() && entries_.size() >= max_keys_) {
        key = kOtherKeys;
        at = entries_.find(key);
    }
    if (at == entries_.end()) {
        entries_.emplace(key, Entry{now});
        return {true, std::nullopt};
    }
    Entry& entry = at->second;
    if (now - entry.since < interval_) {
        ++entry.held;
        return {};
    }
    const Verdict verdict{true, entry.held > 0 ? std::optional(entry.held) : std::nullopt};
    entry = Entry{now};
    return verdict;
}

std::vector<std::pair<std::string, uint64_t>> RepeatLimiter::due(Clock::time_point now) {
    std::vector<std::pair<std::string, uint64_t>> out;
    const std::scoped_lock lock(mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
        Entry& entry = at->second;
        if (now - entry.since < interval_) {
            ++at;
        } else if (entry.held == 0) {
            at = entries_.erase(at);
        } else {
            out.emplace_back(at->first, entry.held);
            entry = Entry{now};
            ++at;
        }
    }
    return out;
}

void RepeatLimiter::report(const Area& area, Level level, Clock::time_point now) {
    if (!area.enabled(level)) return;
    for (const auto& [key, times] : due(now)) area.write(level, fmt::format("repeated {} times", times), {{"what", key}});
}

size_t RepeatLimiter::keys() const {
    const std::scoped_lock lock(mutex_);
    return entries_.size();
}

}  // namespace warren::base::log
