// SPDX-License-Identifier: Apache-2.0
#include "agent/node/verdict_diff.h"

#include "agent/node/map_rows.h"

#include <algorithm>

namespace warren::node {

namespace {

wr_verdict_key key_of(const PairChange& change, uint16_t port) { return {change.source, change.destination, port, 0}; }

const wr_verdict_row* own_row(const PairRef& pair, uint16_t port) {
    if (!pair) return nullptr;
    const auto at = std::lower_bound(pair->begin(), pair->end(), port, [](const PortVerdict& v, uint16_t p) { return v.port < p; });
    return at != pair->end() && at->port == port ? &at->row : nullptr;
}

wr_verdict_row effective(const PairRef& pair, uint16_t port) { return pair ? verdict_of(*pair, port) : wr_verdict_row{}; }

void append_deletions(const PairChange& change, std::vector<VerdictOp>& ops) {
    for (const PortVerdict& v : *change.before)
        if (v.port != 0 && own_row(change.now, v.port) == nullptr) ops.push_back({key_of(change, v.port), std::nullopt});
}

}  // namespace

bool PairChange::empty() const {
    if (before == now) return true;
    return before && now && same_verdicts(*before, *now);
}

void append_ops(const PairChange& change, std::vector<VerdictOp>& ops) {
    if (!change.now) {
        ops.push_back({key_of(change, 0), std::nullopt});
        return append_deletions(change, ops);
    }
    const auto put = [&](const PortVerdict& v) {
        const wr_verdict_row* before = own_row(change.before, v.port);
        if (before == nullptr || !same_row(*before, v.row)) ops.push_back({key_of(change, v.port), v.row});
    };
    for (size_t i = 1; i < change.now->size(); ++i) put((*change.now)[i]);
    put(change.now->front());
    if (change.before) append_deletions(change, ops);
}

bool append_narrowed(const PairChange& change, std::vector<Narrowed>& narrowed) {
    if (!change.before) return false;
    const size_t count = narrowed.size();
    const auto compare = [&](uint16_t port) {
        const wr_verdict_row now = effective(change.now, port);
        if (effective(change.before, port).verdict == WR_VERDICT_ALLOW && now.verdict != WR_VERDICT_ALLOW)
            narrowed.push_back({change.source, change.destination, port, now});
    };
    for (const PortVerdict& v : *change.before) compare(v.port);
    for (size_t i = 0; change.now && i < change.now->size(); ++i)
        if (own_row(change.before, (*change.now)[i].port) == nullptr) compare((*change.now)[i].port);
    return narrowed.size() != count;
}

}  // namespace warren::node
