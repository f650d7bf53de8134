// SPDX-License-Identifier: Apache-2.0
#include "agent/node/alias.h"

#include <algorithm>

namespace warren::node {

std::vector<AliasRow> alias_rows(std::span<const uint32_t> weights) {
    const uint64_t count = weights.size();
    uint64_t total = 0;
    for (const uint32_t w : weights) total += w;
    // In units of 1 / (count * total): a column holds `total`, an index has to be given weight * count.
    std::vector<uint64_t> left(count);
    std::vector<uint32_t> small, large;
    std::vector<AliasRow> rows(count);
    for (uint32_t i = 0; i < count; ++i) {
        left[i] = weights[i] * count;
        rows[i] = {UINT32_MAX, i};  // a full column: both answers are its own
        (left[i] < total ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
        const uint32_t s = small.back(), l = large.back();
        small.pop_back();
        const auto share = (static_cast<unsigned __int128>(left[s]) << 32) + total / 2;
        rows[s] = {static_cast<uint32_t>(std::min<unsigned __int128>(share / total, UINT32_MAX)), l};
        left[l] -= total - left[s];
        if (left[l] >= total) continue;
        large.pop_back();
        small.push_back(l);
    }
    return rows;
}

}  // namespace warren::node
