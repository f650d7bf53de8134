// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/node_runs.h"

#include "policy/identity.h"

namespace warren::cluster {

std::optional<NodeRuns::Run> NodeRuns::run_of(const Pod& pod) const {
    if (pod.node.empty() || pod.phase == "Failed") return std::nullopt;
    return Run(pod.node, policy::Identity(trust_domain_, pod.meta.ns, pod.service_account).uri());
}

void NodeRuns::put(const std::string& key, const Pod* pod) {
    const auto now = pod == nullptr ? std::nullopt : run_of(*pod);
    const auto held = by_pod_.find(key);
    if (held != by_pod_.end()) {
        if (now && held->second->first == *now) return;
        touched_.try_emplace(held->second->first, true);
        --held->second->second;
    }
    if (now) {
        const auto count = counts_.try_emplace(*now, 0).first;
        touched_.try_emplace(*now, count->second != 0);
        ++count->second;
        by_pod_.insert_or_assign(key, count);
    } else if (held != by_pod_.end()) {
        by_pod_.erase(held);
    }
}

NodeRuns::Difference NodeRuns::update(const Objects& objects, std::span<const Change> changes) {
    if (changes.empty()) {
        for (auto& [run, count] : counts_) touched_.try_emplace(run, count != 0), count = 0;
        by_pod_.clear();
        for (const Pod& pod : objects.pods) put(pod.meta.key(), &pod);
    }
    for (const Change& change : changes)
        if (change.kind == ObjectKind::Pod) put(change.key, change.removed ? nullptr : &objects.pods[change.at]);
    Difference out;
    for (const auto& [run, before] : std::exchange(touched_, {})) {
        const auto count = counts_.find(run);
        const bool now = count->second != 0;
        if (now && !before) out.gained.push_back(run);
        if (!now && before) out.lost.push_back(run);
        if (!now) counts_.erase(count);
    }
    return out;
}

}  // namespace warren::cluster
