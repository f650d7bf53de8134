// SPDX-License-Identifier: Apache-2.0
// The difference of two pairs' rows as ordered writes. For VerdictTable. Pure.
#pragma once

#include "agent/node/verdict_table.h"

namespace warren::node {

struct PairChange {
    uint32_t source = 0;
    uint32_t destination = 0;
    PairRef before;  // null: there were no rows
    PairRef now;     // null: none any more
    [[nodiscard]] bool empty() const;
};

// Ports' own rows first, then port 0 which covers those that lose theirs, then deletions. A pair that leaves starts with port 0: the
// other rows stay right until they go, one by one, and a miss is the tunnel.
void append_ops(const PairChange& change, std::vector<VerdictOp>& ops);

// Which ports were allowed and are not; true when there is one.
bool append_narrowed(const PairChange& change, std::vector<Narrowed>& narrowed);

}  // namespace warren::node
