// SPDX-License-Identifier: Apache-2.0
// Weighted draws in constant time: Walker's alias method with Vose's construction (1991), in integers. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace warren::node {

struct AliasRow {
    uint32_t threshold = 0;  // stay when a 32-bit draw is below it
    uint32_t alias = 0;      // else take this one
};

// For an index drawn uniformly. The probability of each index is its weight's share to within 2^-32. Weights are not 0, and there are
// fewer than 2^31; none gives no rows.
[[nodiscard]] std::vector<AliasRow> alias_rows(std::span<const uint32_t> weights);

}  // namespace warren::node
