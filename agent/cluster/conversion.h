// SPDX-License-Identifier: Apache-2.0
// Conversion: convert.h as a state that follows a source. An update costs what the changed objects cost, and those that depend on them:
//
//   Pod, WorkloadEntry           itself
//   EndpointSlice                itself; the pods that it puts into a service without a selector
//   Service, ServiceEntry        itself and the others of its hostnames; when members see a difference: the workloads of the namespace that
//                                its selector selects or did, its slices, the endpoints of the ServiceEntry
//   AuthorizationPolicy          itself; workloads that its selector selects or did
//   PeerAuthentication           those of its namespace; workloads likewise, or the namespace's, or all
//   Namespace                    its workloads and services
//   Node                         its pods
//   Gateway, GatewayClass        what names a waypoint that changed
//
// and everything when the network, the discovered namespaces or the ways into other networks change. Who depends on a changed selector or
// namespace is found by looking through the objects once an update: 100,000 pods in about 10 ms, and no index of them to keep in memory.
// An update without changes begins from nothing. The result is a function of the objects alone, however they came about.
//
// One thread. Memory: services as sent, policies, and the names of what slices and entries yielded; nothing a pod.
#pragma once

#include "agent/cluster/convert_workload.h"
#include "agent/cluster/gateway_status.h"
#include "agent/cluster/object_change.h"
#include "agent/cluster/policy_conditions.h"

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

// What an update says. A removal may be of something that is not there; what is set may be as it was before.
class OutputSink {
  public:
    virtual ~OutputSink() = default;
    // In between, everything there is is set once; all else is gone.
    virtual void begin_whole() = 0;
    virtual void end_whole() = 0;
    // The message may be taken. Names as in Outputs.
    virtual void set_workload(const std::string& uid, Workload& workload) = 0;
    virtual void set_service(const std::string& key, istio::workload::Service& service) = 0;
    virtual void set_authorization(const std::string& key, const istio::security::Authorization& policy) = 0;
    virtual void remove_workload(const std::string& uid) = 0;
    virtual void remove_service(const std::string& key) = 0;
    virtual void remove_authorization(const std::string& key) = 0;
};

// What the status of an object is to say.
struct StatusChange {
    ObjectKind kind = ObjectKind::Service;
    std::string key;  // "NS/NAME"
    std::string uid;
    int64_t generation = 0;  // that this is about; 0: the kind does not count
    std::vector<Told> told;
    GatewayDetails gateway;  // of a Gateway
    ConditionSet gone = 0;   // it says so and must not: these no longer apply
    bool removed = false;    // there is no such object any more
};

class Conversion {
  public:
    explicit Conversion(Settings settings) : settings_(std::move(settings)), mesh_(settings_) {}
    Conversion(const Conversion&) = delete;
    Conversion& operator=(const Conversion&) = delete;

    // The objects as they are; changes: all that differs from the last call, each object once, or nothing for what cannot be told.
    void update(const Objects& objects, std::span<const Change> changes, OutputSink& sink);
    // What is wrong with the objects as they are, in an order of its own that does not depend on theirs.
    void report(Diagnostics& to) const;
    // What changed since the last call.
    [[nodiscard]] std::vector<StatusChange> take_status_changes();
    [[nodiscard]] uint64_t from_nothing() const { return from_nothing_; }  // updates that were

  private:
    enum class Role : uint8_t { Mesh, Service, ServiceEntry, AuthorizationPolicy, PeerAuthentication, Pod, WorkloadEntry, Endpoints, Gateway };
    // Whom the changes of one update concern beside the changed objects themselves.
    struct Impact {
        std::set<std::string, std::less<>> namespaces, nodes, waypoints;  // waypoints by name alone
        PolicyImpact policies;
        SelectorIndex<bool> services;   // selectors, by namespace
        std::set<std::string> keys;     // of services
        std::set<std::string> entries;  // ServiceEntries: "NS/NAME"
        std::set<std::string> listed;   // pods: "NS/NAME"
        [[nodiscard]] bool names_waypoint(const LabelMap& labels) const;
        [[nodiscard]] bool concerns(const ObjectMeta& meta, const LabelMap& labels) const;
        [[nodiscard]] bool any() const;
    };
    struct Round {  // one update
        const Objects& objects;
        std::span<const Change> changes;
        OutputSink& sink;
        bool whole = false;
        Impact impact = {};
    };
    struct Slice {  // what it has yielded
        std::vector<std::string> uids, pods;
    };

    void note_discovery();
    bool look_around(Round& round);
    void run(Round& round);
    void policies(Round& round);
    void services(Round& round);
    void put_service(const std::string& key, const KubeService* service);
    void put_entry(const std::string& key, const ServiceEntry* entry);
    void settle_services(Round& round);
    void slices(Round& round);
    void put_slice(const std::string& key, const EndpointSlice* slice, Round& round);
    void endpoints(Round& round);
    void put_endpoints(const std::string& key, const ServiceEntry* entry, OutputSink& sink);
    void entries(Round& round);
    void put_workload_entry(const std::string& key, const WorkloadEntry* entry, OutputSink& sink);
    void pods(Round& round);
    void put_pod(const std::string& key, const Pod* pod, OutputSink& sink);
    void network_gateways(OutputSink& sink);
    void begin_object() const { mesh_.problems() = {}; }
    // What the problems at hand tell the object; meta is null when it does not count, or is gone: `there` says which.
    void note_status(ObjectKind kind, const std::string& key, const ObjectMeta* meta, bool there = true, GatewayDetails gateway = {});
    void put_policy(const std::string& key, const AuthorizationPolicy* policy);
    void settle_targets(Round& round);
    void gateways(Round& round);
    void end_object(Role role, const std::string& key);
    void set_problems(Role role, const std::string& key, const Diagnostics& problems);

    const Settings settings_;
    MeshView mesh_;
    bool started_ = false;
    uint64_t from_nothing_ = 0;
    std::unordered_map<std::string, Slice> slices_;                        // by "NS/NAME", those that yielded something
    std::unordered_map<std::string, std::vector<std::string>> endpoints_;  // ServiceEntry -> uids, likewise
    std::map<std::pair<Role, std::string>, Diagnostics> problems_;
    struct Status {
        std::string uid;
        int64_t generation = 0;
        std::vector<Told> told;
        GatewayDetails gateway;
        [[nodiscard]] ConditionSet types() const;
        bool operator==(const Status&) const = default;
    };
    using Statuses = std::map<std::pair<ObjectKind, std::string>, Status>;  // of objects that are told something
    Statuses statuses_;
    PolicyTargets targets_;
    Statuses unseen_;  // of statuses_ before an update that begins from nothing, and not met in it yet
    std::map<std::pair<ObjectKind, std::string>, StatusChange> status_changes_;
};

}  // namespace warren::cluster
