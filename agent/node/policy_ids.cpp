// SPDX-License-Identifier: Apache-2.0
#include "agent/node/policy_ids.h"

#include <algorithm>
#include <limits>

namespace warren::node {

void PolicyIds::resume(uint32_t last, const std::vector<Given>& given) {
    last_ = last;
    for (const auto& [digest, id] : given) {
        earlier_.emplace(digest, id);
        last_ = std::max(last_, id);
    }
}

uint32_t PolicyIds::id_of(const policy::Text& key) {
    if (const auto known = ids_.find(key); known != ids_.end()) return known->second;
    const Digest digest = digest_of({key.view()});
    uint32_t id = 0;
    if (const auto before = earlier_.find(digest); before != earlier_.end()) {
        id = before->second;
        earlier_.erase(before);
    } else {
        if (last_ == std::numeric_limits<uint32_t>::max()) return 0;
        id = ++last_;
        changes_.given.emplace_back(digest, id);
    }
    ids_.emplace(key, id);
    names_.emplace(id, key);
    published_ = nullptr;
    return id;
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
    if (size() <= std::max(kFewest, 2 * snapshot.policy_count())) return;
    for (const auto& [digest, id] : earlier_) changes_.dropped.push_back(digest);
    earlier_.clear();
    std::erase_if(ids_, [&](const auto& entry) {
        if (snapshot.policy(entry.first.view())) return false;
        names_.erase(entry.second);
        published_ = nullptr;
        changes_.dropped.push_back(digest_of({entry.first.view()}));
        return true;
    });
}

}  // namespace warren::node
