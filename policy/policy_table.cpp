// SPDX-License-Identifier: Apache-2.0
#include "policy/policy_table.h"

#include "policy/index_key.h"

#include <algorithm>

namespace warren::policy {

namespace {

// Where a policy stands without being listed: its namespace, or the empty one for everywhere. A NAMESPACE policy without a namespace is
// global (contract 7.1); a selector policy stands nowhere.
std::optional<Text> bucket_of(const Policy& p) {
    switch (p.scope()) {
        case Scope::Global: return Text();
        case Scope::Namespace: return p.ns();
        case Scope::WorkloadSelector: break;
    }
    return std::nullopt;
}

}  // namespace

size_t PolicyTable::SetHash::operator()(const SetProbe& k) const noexcept {
    uint64_t h = k.ns.hash();
    for (const Text& name : k.list) h = hash_pair(h, name.hash());
    return h;
}

std::shared_ptr<const PolicyTable> PolicyTable::next(const std::shared_ptr<const PolicyTable>& now, std::vector<PolicyUpdate> updates,
                                                     std::span<const std::string> removed) {
    if (updates.empty() && removed.empty()) return now;
    const auto table = std::make_shared<PolicyTable>();
    table->by_key_ = now->by_key_;
    table->scopes_ = now->scopes_;
    table->refusals_ = now->refusals_;
    Touched touched;
    for (PolicyUpdate& u : updates) table->update(std::move(u), touched);
    for (const std::string& key : removed) table->remove(key, touched);
    if (touched.keys.empty() && !touched.refusals) return now;
    table->inherit(*now, touched);
    return table;
}

void PolicyTable::update(PolicyUpdate&& update, Touched& touched) {
    const Text& key = std::visit([](const auto& u) -> const Text& { return u.key; }, update);
    const PolicyRef* found = by_key_.find(key);
    const PolicyRef old = found != nullptr ? *found : PolicyRef();
    if (auto* spec = std::get_if<PolicySpec>(&update)) {
        touched.refusals = refusals_.erase(key) || touched.refusals;
        if (old && !old->refused() && old->spec() == *spec) return;
        put(make_ref<Policy>(std::move(*spec)), touched);
        return;
    }
    PolicyRefusal& refusal = std::get<PolicyRefusal>(update);
    if (!old || old->refused()) {
        put(make_ref<Policy>(std::move(refusal)), touched);
        return;
    }
    refusals_.set(key, std::move(refusal.reason));
    touched.refusals = true;
}

void PolicyTable::put(PolicyRef policy, Touched& touched) {
    const Text key = policy->key();
    PolicyRef& slot = by_key_.edit(key);
    const PolicyRef old = std::exchange(slot, policy);
    if (old) leave_bucket(*old, touched);
    touched.keys.insert(key);
    const auto ns = bucket_of(*policy);
    if (!ns) return;
    touched.namespaces.insert(*ns);
    scopes_.edit(*ns).set(key, std::move(policy));
}

void PolicyTable::remove(std::string_view key, Touched& touched) {
    const PolicyRef* found = find_text(by_key_, key);
    if (found == nullptr) return;
    const PolicyRef old = *found;
    by_key_.erase(old->key());
    refusals_.erase(old->key());
    touched.keys.insert(old->key());
    leave_bucket(*old, touched);
}

void PolicyTable::leave_bucket(const Policy& policy, Touched& touched) {
    const auto ns = bucket_of(policy);
    if (!ns) return;
    touched.namespaces.insert(*ns);
    Bucket& bucket = scopes_.edit(*ns);
    bucket.erase(policy.key());
    if (bucket.empty()) scopes_.erase(*ns);
}

void PolicyTable::inherit(const PolicyTable& from, const Touched& touched) {
    if (touched.namespaces.contains(Text())) return;
    const std::lock_guard lock(from.mutex_);
    for (const auto& [key, set] : from.sets_) {
        const bool stale = touched.namespaces.contains(key.ns) ||
                           std::any_of(key.list.begin(), key.list.end(), [&](const Text& name) { return touched.keys.contains(name); });
        if (!stale) sets_.emplace(key, set);
    }
    sweep_at_ = std::max(kFirstSweep, 2 * sets_.size());
}

PolicyRef PolicyTable::find(std::string_view key) const {
    const PolicyRef* found = find_text(by_key_, key);
    return found != nullptr ? *found : PolicyRef();
}

std::vector<std::pair<Text, std::string>> PolicyTable::refusals() const {
    std::vector<std::pair<Text, std::string>> out;
    by_key_.for_each([&](const Text& key, const PolicyRef& p) {
        if (p->refused()) out.emplace_back(key, p->refused_because());
    });
    refusals_.for_each([&](const Text& key, const std::string& reason) { out.emplace_back(key, reason); });
    std::sort(out.begin(), out.end());
    return out;
}

std::shared_ptr<const PolicySet> PolicyTable::set_for(const Workload& workload) const {
    const Text everywhere;
    const Text& ns = scopes_.find(workload.ns) != nullptr ? workload.ns : everywhere;
    const SetProbe probe{ns, workload.authorization_policies};
    {
        const std::lock_guard lock(mutex_);
        if (const auto found = sets_.find(probe); found != sets_.end()) return found->second;
    }
    // Two threads may build the same set at once; the first to come back gives it to both.
    auto built = build(ns, probe.list);
    const std::lock_guard lock(mutex_);
    if (sets_.size() >= sweep_at_) sweep();
    return sets_.try_emplace(SetKey{ns, probe.list}, std::move(built)).first->second;
}

size_t PolicyTable::cached_sets() const {
    const std::lock_guard lock(mutex_);
    return sets_.size();
}

void PolicyTable::sweep() const {
    // New references to a set are made under the mutex or from one that somebody holds, so "nobody" cannot change under us.
    std::erase_if(sets_, [](const auto& entry) { return entry.second.use_count() == 1; });
    sweep_at_ = std::max(kFirstSweep, 2 * sets_.size());
}

std::shared_ptr<const PolicySet> PolicyTable::build(const Text& ns, const Array<Text>& list) const {
    std::vector<PolicyRef> policies;
    const auto add_bucket = [&](const Text& of) {
        const Bucket* bucket = scopes_.find(of);
        if (bucket == nullptr) return;
        const auto begin = static_cast<std::ptrdiff_t>(policies.size());
        bucket->for_each([&](const Text&, const PolicyRef& p) { policies.push_back(p); });
        std::sort(policies.begin() + begin, policies.end(), [](const PolicyRef& a, const PolicyRef& b) { return a->key() < b->key(); });
    };
    if (!ns.empty()) add_bucket(ns);
    add_bucket(Text());
    std::unordered_set<Text> listed;
    std::vector<Text> missing;
    for (const Text& name : list) {
        if (!listed.insert(name).second) continue;
        if (const PolicyRef* p = by_key_.find(name); p != nullptr) {
            policies.push_back(*p);  // the set counts one that stands already once
        } else {
            missing.push_back(name);
        }
    }
    return std::make_shared<const PolicySet>(std::move(policies), std::move(missing));
}

}  // namespace warren::policy
