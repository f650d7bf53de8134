// SPDX-License-Identifier: Apache-2.0
#include "policy/snapshot.h"

#include "policy/policy_table.h"

#include <algorithm>

namespace warren::policy {

Snapshot::Snapshot(std::string_view own_node) : workloads_(own_node), policies_(std::make_shared<const PolicyTable>()) {}
Snapshot::~Snapshot() = default;
Snapshot::Snapshot(const Snapshot&) = default;

const Workload* Snapshot::workload(std::string_view uid) const {
    const WorkloadRef* found = workloads_.find(uid);
    return found != nullptr ? found->get() : nullptr;
}

const Workload* Snapshot::workload(const NetworkAddress& address) const { return workloads_.by_address(address); }

const Workload* Snapshot::local_workload(std::string_view ns, std::string_view name, std::string_view service_account,
                                         std::string_view node) const {
    return workloads_.by_name(ns, name, [&](const Workload& w) {
        return w.service_account.view() == service_account && (node.empty() || w.node.view() == node);
    });
}

const ServiceEntry* Snapshot::service(std::string_view key) const { return services_.find(key); }

const ServiceEntry* Snapshot::service_by_vip(const NetworkAddress& address, const Text* client_ns) const {
    return services_.by_vip(address, client_ns);
}

const ServiceEntry* Snapshot::service_by_hostname(std::string_view hostname, const Text* client_ns) const {
    return services_.by_hostname(hostname, client_ns);
}

std::vector<const ServiceEntry*> Snapshot::services_by_hostname(std::string_view hostname) const {
    return services_.all_by_hostname(hostname);
}

const Workload* Snapshot::workload_by_hostname(std::string_view ns, std::string_view hostname) const {
    return workloads_.by_hostname(ns, hostname);
}

PolicyRef Snapshot::policy(std::string_view key) const { return policies_->find(key); }

std::shared_ptr<const PolicySet> Snapshot::policies_for(const Workload& workload) const { return policies_->set_for(workload); }

std::vector<std::pair<Text, std::string>> Snapshot::refusals() const { return policies_->refusals(); }

void Snapshot::each_policy(const std::function<void(const Policy&)>& fn) const { policies_->for_each(fn); }

size_t Snapshot::workload_count() const { return workloads_.size(); }
size_t Snapshot::service_count() const { return services_.size(); }
size_t Snapshot::policy_count() const { return policies_->size(); }

struct Mesh::State {
    explicit State(std::string_view own_node) : next(own_node) {}

    RecordPool pool;
    // The writer's own copy. What it shares with the published one and with any a reader holds is copied before it changes.
    Snapshot next;
    std::shared_ptr<const Snapshot> published = std::make_shared<const Snapshot>(next);
};

namespace {

// "namespace/hostname" has one slash; with another one the name is nothing we know (contract 3.4).
bool is_service_key(std::string_view name) { return std::count(name.begin(), name.end(), '/') == 1; }

}  // namespace

Mesh::Mesh(std::string_view own_node) : state_(std::make_unique<State>(own_node)) {}
Mesh::~Mesh() = default;

std::shared_ptr<const Snapshot> Mesh::apply(Batch batch) {
    Snapshot& next = state_->next;
    EndpointChanges endpoints;
    bool changed = false;
    for (const WorkloadRef& w : batch.workloads) {
        const WorkloadRef* there = next.workloads_.find(w->uid);
        if (there != nullptr && (*there == w || **there == *w)) continue;
        endpoints.add(next.workloads_.put(w), w);
        changed = true;
    }
    for (const ServiceRef& s : batch.services) changed = next.services_.put(s) || changed;
    for (const std::string& name : batch.removed_addresses) {
        if (const WorkloadRef old = next.workloads_.remove(name)) {
            endpoints.add(old, nullptr);
            changed = true;
        } else if (is_service_key(name)) {
            changed = next.services_.remove(name) || changed;
        }
    }
    next.services_.apply(std::move(endpoints));
    auto policies = PolicyTable::next(next.policies_, std::move(batch.policies), batch.removed_policies);
    changed = changed || policies != next.policies_;
    next.policies_ = std::move(policies);
    if (!changed) return state_->published;
    ++next.version_;
    state_->published = std::make_shared<const Snapshot>(next);
    return state_->published;
}

std::shared_ptr<const Snapshot> Mesh::snapshot() const { return state_->published; }

RecordPool& Mesh::pool() { return state_->pool; }

}  // namespace warren::policy
