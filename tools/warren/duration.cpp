// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/duration.h"

#include <charconv>

namespace warren::tools {

base::Result<std::chrono::milliseconds> parse_duration(const std::string& text) {
    uint32_t number = 0;  // of days too it fits 64 bits of milliseconds
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
    if (failed == std::errc() && end != text.data()) {
        for (const auto& [name, ms] : {std::pair{"ms", int64_t{1}}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}})
            if (unit == name) return std::chrono::milliseconds(ms * number);
    }
    return base::invalid("\"" + text + "\" is no duration; write a whole number and ms, s, m, h or d: 5m");
}

}  // namespace warren::tools
