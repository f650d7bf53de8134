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
#include "policy/persistent_map.h"
#include "policy/service.h"
#include "policy/workload.h"

#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace warren::policy {

// One member of a service. ports points into workload->services and lives as long as the workload.
struct Endpoint {
    WorkloadRef workload;
    const Array<PortPair>* ports = nullptr;
    [[nodiscard]] uint16_t target_port(uint16_t service_port) const;  // 0: not mapped by this endpoint
};

// A service with its endpoints, by workload uid. Endpoints that arrive before their service wait here with service null ("staged").
// All endpoints are kept, healthy or not; health is applied when one is chosen, so ALLOW_ALL may be switched at any time (quirk A14).
struct ServiceEntry : Counted {
    ServiceRef service;
    PersistentMap<Text, Endpoint> endpoints;
};

class PolicyTable;  // policies by key and scope, with the decision sets built so far

class Snapshot {
  public:
    Snapshot();
    ~Snapshot();
    Snapshot(const Snapshot&);

    // -- workloads
    [[nodiscard]] const Workload* workload(std::string_view uid) const;
    // By address, HOST_NETWORK ones excluded; among several the highest rank: HBONE pod, pod, HBONE, rest.
    [[nodiscard]] const Workload* workload(const NetworkAddress& address) const;
    // The record of a local pod: same name, namespace and account, and on `node` when that is not empty (contract 8.4).
    [[nodiscard]] const Workload* local_workload(std::string_view ns, std::string_view name, std::string_view service_account,
                                                 std::string_view node) const;
    // -- services; client_ns null sees everything
    [[nodiscard]] const ServiceEntry* service(std::string_view key) const;  // "namespace/hostname", staged ones excluded
    [[nodiscard]] const ServiceEntry* service_by_vip(const NetworkAddress& address, const Text* client_ns) const;
    [[nodiscard]] const ServiceEntry* service_by_hostname(std::string_view hostname, const Text* client_ns) const;
    // Every service of that hostname, in arrival order (DNS chooses among them by its own rules, contract 8.7).
    [[nodiscard]] std::vector<const ServiceEntry*> services_by_hostname(std::string_view hostname) const;
    // A workload of that namespace and hostname: the fallback of "namespace/hostname" lookups. A linear scan, as in the reference.
    [[nodiscard]] const Workload* workload_by_hostname(std::string_view ns, std::string_view hostname) const;

    // -- authorization
    [[nodiscard]] PolicyRef policy(std::string_view key) const;
    // The decision set of a workload, built at first use and shared; keep it while the snapshot is current rather than ask per connection.
    [[nodiscard]] std::shared_ptr<const PolicySet> policies_for(const Workload& workload) const;

    // -- everything, for dumps and servers. fn(const Workload&), fn(const ServiceEntry&), fn(const Policy&); no order
    template <class Fn>
    void each_workload(Fn&& fn) const;
    template <class Fn>
    void each_service(Fn&& fn) const;
    void each_policy(const std::function<void(const Policy&)>& fn) const;
    [[nodiscard]] size_t workload_count() const;
    [[nodiscard]] size_t service_count() const;  // without staged ones
    [[nodiscard]] size_t policy_count() const;
    // Grows by one with every applied change; readers compare it to know whether anything is new.
    [[nodiscard]] uint64_t version() const { return version_; }

  private:
    friend class Mesh;
    uint64_t version_ = 0;
    // members: see snapshot_state.h
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
    Mesh();
    ~Mesh();
    // Applies the batch and publishes; cannot fail: what does not make sense was refused by the converter.
    std::shared_ptr<const Snapshot> apply(Batch batch);
    [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const;
    // Where converters intern names; same thread as the mesh.
    [[nodiscard]] TextPool& pool();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace warren::policy
