// SPDX-License-Identifier: Apache-2.0
#include "agent/node/policy_ids.h"

#include <algorithm>

namespace warren::node {

uint32_t PolicyIds::id_of(const policy::Text& key) {
    const auto [at, added] = ids_.try_emplace(key, last_ + 1);
    if (added) names_.emplace(++last_, key);
    return at->second;
}

const policy::Text* PolicyIds::name_of(uint32_t id) const {
    const auto found = names_.find(id);
    return found != names_.end() ? &found->second : nullptr;
}

void PolicyIds::sweep(const policy::Snapshot& snapshot) {
    if (ids_.size() <= std::max(kFewest, 2 * snapshot.policy_count())) return;
    std::erase_if(ids_, [&](const auto& entry) {
        if (snapshot.policy(entry.first.view())) return false;
        names_.erase(entry.second);
        return true;
    });
}

}  // namespace warren::node
