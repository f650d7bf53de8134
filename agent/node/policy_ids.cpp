// SPDX-License-Identifier: Apache-2.0
#include "agent/node/policy_ids.h"

#include <algorithm>

namespace warren::node {

uint32_t PolicyIds::id_of(const policy::Text& key) {
    const auto [at, added] = ids_.try_emplace(key, last_ + 1);
    if (added) {
        names_.emplace(++last_, key);
        published_ = nullptr;
    }
    return at->second;
}

const policy::Text* PolicyIds::name_of(uint32_t id) const {
    const auto found = names_.find(id);
    return found != names_.end() ? &found->second : nullptr;
}

std::shared_ptr<const PolicyIds::Names> PolicyIds::names() {
    if (!published_) {
        Names all;
        for (const auto& [id, name] : names_) all.emplace(id, name.str());
        published_ = std::make_shared<const Names>(std::move(all));
    }
    return published_;
}

void PolicyIds::sweep(const policy::Snapshot& snapshot) {
    if (ids_.size() <= std::max(kFewest, 2 * snapshot.policy_count())) return;
    std::erase_if(ids_, [&](const auto& entry) {
        if (snapshot.policy(entry.first.view())) return false;
        names_.erase(entry.second);
        published_ = nullptr;
        return true;
    });
}

}  // namespace warren::node
