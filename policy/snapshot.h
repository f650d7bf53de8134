// SPDX-License-Identifier: Apache-2.0
// Snapshot: one consistent state of the mesh, immutable. Mesh: the one writer that makes the next. A change touches only the path of
// persistent maps above it (persistent_map.h), so a mesh of 100,000 workloads changes one of them in microseconds while every reader
// keeps the snapshot it holds; nobody waits for anybody. Lookups are the primitives of data-plane contract 5.1.
//
// Threads: a Mesh belongs to one thread. A shared_ptr<const Snapshot> may be read by any number of threads.
#pragma once

#include "base/result.h"
#include "policy/authorization.h"
#include "policy/evaluate.h"
#include "policy/record_pool.h"
#include "policy/service_index.h"
#include "policy/workload_index.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace warren::policy {

class PolicyTable;  // policies by key and scope, with the decision sets built so far

class Snapshot {
  public:
    explicit Snapshot(std::string_view own_node = {});  // empty, of a mesh as Mesh makes them
    ~Snapshot();
    Snapshot(const Snapshot&);

    // -- workloads
    [[nodiscard]] const Workload* workload(std::string_view uid) const;
    // By address, HOST_NETWORK ones excluded; among several the highest rank (HBONE pod, pod, HBONE, rest), of equals the latest claim.
    [[nodiscard]] const Workload* workload(const NetworkAddress& address) const;
    // The record of a local pod: same name, namespace and account, and on `node` when that is not empty (contract 8.4). A mesh that has an
    // own node knows only that node's pods by name.
    [[nodiscard]] const Workload* local_workload(std::string_view ns, std::string_view name, std::string_view service_account,
                                                 std::string_view node) const;
    // -- services; client_ns null sees everything
    [[nodiscard]] const ServiceEntry* service(std::string_view key) const;  // "namespace/hostname", staged ones excluded
    [[nodiscard]] const ServiceEntry* service_by_vip(const NetworkAddress& address, const Text* client_ns) const;
    [[nodiscard]] const ServiceEntry* service_by_hostname(std::string_view hostname, const Text* client_ns) const;
    // Every service of that hostname, in arrival order (DNS chooses among them by its own rules, contract 8.7).
    [[nodiscard]] std::vector<const ServiceEntry*> services_by_hostname(std::string_view hostname) const;
    // A workload of that namespace and hostname: the fallback of "namespace/hostname" lookups. The first to arrive where several have it.
    [[nodiscard]] const Workload* workload_by_hostname(std::string_view ns, std::string_view hostname) const;

    // -- authorization
    [[nodiscard]] PolicyRef policy(std::string_view key) const;
    // The decision set of a workload, built at first use and shared; keep it while the snapshot is current rather than ask per connection.
    [[nodiscard]] std::shared_ptr<const PolicySet> policies_for(const Workload& workload) const;
    // Key and reason of every policy whose last version was refused, whether an earlier one is still in force or not; sorted by key.
    [[nodiscard]] std::vector<std::pair<Text, std::string>> refusals() const;

    // -- everything, for dumps and servers. fn(const Workload&), fn(const ServiceEntry&), fn(const Policy&); no order
    template <class Fn>
    void each_workload(Fn&& fn) const {
        workloads_.for_each(fn);
    }
    template <class Fn>
    void each_service(Fn&& fn) const {
        services_.for_each(fn);
    }
    // Endpoints that wait for their service: fn(const Text& key, const ServiceEntry&).
    template <class Fn>
    void each_staged(Fn&& fn) const {
        services_.for_each_staged(fn);
    }
    // What changed between a snapshot and a later one of the same mesh, at the cost of what changed: fn(const Workload* before, const
    // Workload* now) and fn(const ServiceEntry* before, const ServiceEntry* now); null where there was or is none.
    template <class Fn>
    void each_changed_workload(const Snapshot& before, Fn&& fn) const {
        workloads_.each_change_since(before.workloads_, fn);
    }
    template <class Fn>
    void each_changed_service(const Snapshot& before, Fn&& fn) const {
        services_.each_change_since(before.services_, fn);
    }
    void each_policy(const std::function<void(const Policy&)>& fn) const;
    [[nodiscard]] size_t workload_count() const;
    [[nodiscard]] size_t service_count() const;  // without staged ones
    [[nodiscard]] size_t policy_count() const;
    // Grows by one with every batch that changed anything; readers compare it to know whether anything is new.
    [[nodiscard]] uint64_t version() const { return version_; }

  private:
    friend class Mesh;
    WorkloadIndex workloads_;
    ServiceIndex services_;
    std::shared_ptr<const PolicyTable> policies_;  // never null
    uint64_t version_ = 0;
};

// What one update does. Within a batch all updates come before all removals (contract 3.4), workloads before policies before services.
struct Batch {
    std::vector<WorkloadRef> workloads;
    std::vector<ServiceRef> services;
    std::vector<std::variant<PolicySpec, PolicyRefusal>> policies;
    std::vector<std::string> removed_addresses;  // workload uid, else "namespace/hostname" of a service
    std::vector<std::string> removed_policies;
};

class Mesh {
  public:
    // own_node: the only one whose pods are looked up by name; empty: any.
    explicit Mesh(std::string_view own_node = {});
    ~Mesh();
    // Applies the batch and publishes; cannot fail: what does not make sense was refused by the converter. Records that equal the ones
    // there are dropped, so a control plane that sends everything again after a reconnect costs a comparison each and keeps the snapshot.
    std::shared_ptr<const Snapshot> apply(Batch batch);
    [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const;
    // Where converters intern names; same thread as the mesh.
    [[nodiscard]] RecordPool& pool();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace warren::policy
