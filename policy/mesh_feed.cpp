// SPDX-License-Identifier: Apache-2.0
#include "policy/mesh_feed.h"

#include <utility>

namespace warren::policy {

namespace {

std::string_view key_of(const WorkloadRef& workload) { return workload->uid.view(); }
std::string_view key_of(const ServiceRef& service) { return service->key.view(); }
std::string_view key_of(const std::variant<PolicySpec, PolicyRefusal>& policy) {
    return std::visit([](const auto& one) { return one.key.view(); }, policy);
}

// The control plane gives it: it is no longer the file's.
template <class Names, class List>
void give_up(Names& names, const List& list) {
    for (const auto& one : list)
        if (const auto at = names.find(key_of(one)); at != names.end()) names.erase(at);
}

// Leaves those that are new or the file's already, and notes them as the file's.
template <class Names, class List, class IsThere>
void claim(Names& names, const Names& before, List& list, IsThere is_there) {
    std::erase_if(list, [&](const auto& one) {
        const std::string_view key = key_of(one);
        if (!before.contains(key) && is_there(key)) return true;
        names.emplace(key);
        return false;
    });
}

template <class Names>
void remove_missing(const Names& before, const Names& now, std::vector<std::string>& removed) {
    for (const std::string& name : before)
        if (!now.contains(name)) removed.push_back(name);
}

}  // namespace

void MeshFeed::apply(Batch batch) {
    if (readers_.on_batch) readers_.on_batch(batch);
    auto snapshot = mesh_.apply(std::move(batch));
    // Its readers first: what a dump shows has been handed to those who decide by it.
    if (readers_.on_snapshot) readers_.on_snapshot(snapshot);
    const std::lock_guard lock(snapshot_mutex_);
    snapshot_ = std::move(snapshot);
}

void MeshFeed::update(const Make& make) {
    const std::lock_guard lock(mutex_);
    Batch batch = make(*mesh_.snapshot());
    if (!file_addresses_.empty() || !file_policies_.empty()) {
        give_up(file_addresses_, batch.workloads);
        give_up(file_addresses_, batch.services);
        give_up(file_policies_, batch.policies);
        std::erase_if(batch.removed_addresses, [&](const std::string& name) { return file_addresses_.contains(name); });
        std::erase_if(batch.removed_policies, [&](const std::string& name) { return file_policies_.contains(name); });
    }
    apply(std::move(batch));
}

base::Result<void> MeshFeed::replace(const Read& read) {
    const std::lock_guard lock(mutex_);
    Batch batch = TRY(read(mesh_.pool()));
    const auto now = mesh_.snapshot();
    Names addresses, policies;
    claim(addresses, file_addresses_, batch.workloads, [&](std::string_view key) { return now->workload(key) != nullptr; });
    claim(addresses, file_addresses_, batch.services, [&](std::string_view key) { return now->service(key) != nullptr; });
    claim(policies, file_policies_, batch.policies, [&](std::string_view key) { return static_cast<bool>(now->policy(key)); });
    remove_missing(file_addresses_, addresses, batch.removed_addresses);
    remove_missing(file_policies_, policies, batch.removed_policies);
    file_addresses_ = std::move(addresses);
    file_policies_ = std::move(policies);
    apply(std::move(batch));
    return {};
}

}  // namespace warren::policy
