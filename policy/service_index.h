// SPDX-License-Identifier: Apache-2.0
// ServiceIndex: the services of one snapshot with their endpoints, by key, virtual address, prefix and hostname (data-plane contract
// 5.1). The address and hostname indexes name services, not their endpoints, so an endpoint that comes or goes touches one entry and no
// index can hold a stale endpoint (quirk A1). A value made of persistent maps: the writer of the mesh changes its own copy, published
// ones are read by any thread.
#pragma once

#include "base/persistent_map.h"
#include "policy/index_key.h"
#include "policy/service.h"
#include "policy/short_list.h"

#include <string_view>
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
    base::PersistentMap<Text, Endpoint> endpoints;
};

// The endpoint changes of one batch, grouped by service before they are applied, so that each service is copied once.
class EndpointChanges {
  public:
    // The memberships of a workload that was put or (now null) removed; either may be null.
    void add(const WorkloadRef& before, const WorkloadRef& now);
    [[nodiscard]] bool empty() const { return changes_.empty(); }

  private:
    friend class ServiceIndex;
    struct Change {
        uint64_t hash;  // of the service's key
        const WorkloadService* member;
        WorkloadRef workload;  // holds member
        uint32_t order;        // of arrival, which counts among changes of one service
        bool joins;
    };
    void push(const WorkloadService& member, const WorkloadRef& workload, bool joins) {
        changes_.push_back({member.service.hash(), &member, workload, static_cast<uint32_t>(changes_.size()), joins});
    }
    std::vector<Change> changes_;
};

class ServiceIndex {
  public:
    // Puts it in the place of an earlier one of that key; its endpoints, staged ones too, stay, and so does its place in the order of
    // arrival of every address and hostname that it keeps. False when it equals the one that is there.
    bool put(const ServiceRef& service);
    // Endpoints whose workloads still name the service wait for it again. False when there is none.
    bool remove(std::string_view key);
    void apply(EndpointChanges&& changes);

    [[nodiscard]] const ServiceEntry* find(std::string_view key) const;  // null for staged ones
    [[nodiscard]] const ServiceEntry* by_vip(const NetworkAddress& address, const Text* client_ns) const;
    [[nodiscard]] const ServiceEntry* by_hostname(std::string_view hostname, const Text* client_ns) const;
    [[nodiscard]] std::vector<const ServiceEntry*> all_by_hostname(std::string_view hostname) const;

    [[nodiscard]] size_t size() const noexcept { return count_; }
    template <class Fn>
    void for_each(Fn&& fn) const {
        entries_.for_each([&](const Text&, const Ref<const ServiceEntry>& e) {
            if (e->service) fn(*e);
        });
    }
    template <class Fn>
    void for_each_staged(Fn&& fn) const {
        entries_.for_each([&](const Text& key, const Ref<const ServiceEntry>& e) {
            if (!e->service) fn(key, *e);
        });
    }

    // fn(const ServiceEntry* before, const ServiceEntry* now); null: not there, or staged. Endpoints count as change.
    template <class Fn>
    void each_change_since(const ServiceIndex& before, Fn&& fn) const {
        using Entry = Ref<const ServiceEntry>;
        const auto arrived = [](const Entry* e) { return e != nullptr && (*e)->service ? e->get() : nullptr; };
        decltype(entries_)::diff(before.entries_, entries_, [&](const Entry* was, const Entry* is) {
            if (arrived(was) != arrived(is)) fn(arrived(was), arrived(is));
        });
    }

  private:
    using Services = ShortList<ServiceRef>;

    // How many prefixes of a length a network has, longest first; what a lookup probes.
    struct PrefixLength {
        bool v4;
        uint8_t length;
        uint32_t prefixes;
    };

    [[nodiscard]] const ServiceEntry* entry_of(const Service* service) const;
    [[nodiscard]] const Service* by_prefix(const NetworkAddress& address, const Text* client_ns) const;
    void put_prefix(const NetworkPrefix& prefix, const ServiceRef& service);
    void drop_prefix(const NetworkPrefix& prefix, const Text& key);
    void count_prefix(const NetworkPrefix& prefix, bool more);
    void unindex(const Service& old, const Service* keeping);

    base::PersistentMap<Text, Ref<const ServiceEntry>> entries_;
    base::PersistentMap<NetworkAddress, Services, AddressHash> vips_;
    base::PersistentMap<NetworkPrefix, Services, NetworkPrefixHash> prefixes_;
    base::PersistentMap<Text, Array<PrefixLength>> lengths_;  // by network
    base::PersistentMap<Text, Services> hostnames_;
    size_t count_ = 0;  // without staged ones
};

}  // namespace warren::policy
