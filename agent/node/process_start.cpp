// SPDX-License-Identifier: Apache-2.0
#include "agent/node/process_start.h"

#include "base/small_file.h"

#include <charconv>

namespace warren::node {

std::optional<uint64_t> process_start(const std::string& folder) {
    constexpr size_t kMaxStat = 4096;
    const auto stat = base::read_small_file(folder + "/stat", kMaxStat);
    if (!stat) return std::nullopt;
    // The name may hold anything, brackets too.
    size_t at = stat->rfind(')');
    if (at == std::string::npos) return std::nullopt;
    for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
    uint64_t start = 0;
    if (at == std::string::npos) return std::nullopt;
    const auto [end, error] = std::from_chars(stat->data() + at + 1, stat->data() + stat->size(), start);
    return error == std::errc() ? std::optional(start) : std::nullopt;
}

}  // namespace warren::node
