// SPDX-License-Identifier: Apache-2.0
// Which waypoint an object's traffic passes (Kubernetes contract 2.9). Built from the Gateways once, then only read; borrows the objects.
//
// An object whose waypoint is missing, not ready, or not open to it is published without one, as the reference does: its traffic goes
// direct, and policies that only a waypoint enforces do not apply meanwhile. Each such case is a warning. Policies of this layer still do.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_objects.h"
#include "proto/workload.pb.h"

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace warren::cluster {

struct Waypoint {
    std::string ns, name;
    istio::workload::GatewayAddress address;
    bool for_services = false, for_workloads = false;
    std::optional<istio::workload::ApplicationTunnel> tunnel;  // how its own pods want inbound connections
    Listener::From from = Listener::From::Same;
    LabelSelector namespaces;

    [[nodiscard]] bool same_as(const Waypoint& o) const;
};

class Waypoints {
  public:
    using NamespaceMap = std::map<std::string, const Namespace*, std::less<>>;

    // The namespaces outlive the Waypoints; of the objects the gateways and their classes count.
    Waypoints(std::span<const Gateway* const> gateways, std::span<const GatewayClass> gateway_classes, const NamespaceMap& namespaces,
              const std::string& network);

    // One that is ready; null: there is none of that name.
    [[nodiscard]] const Waypoint* find(std::string_view ns, std::string_view name) const;
    // The waypoint that a pod or entry with these labels is an instance of.
    [[nodiscard]] const Waypoint* of_instance(std::string_view ns, const LabelMap& labels) const;

    // Names of those that are not the same in both.
    [[nodiscard]] static std::set<std::string, std::less<>> difference(const Waypoints& a, const Waypoints& b);

    // What the object is bound to; null: nothing. kind is for the warning.
    [[nodiscard]] const Waypoint* of_workload(const ObjectMeta& object, std::string_view kind, Diagnostics& problems) const;

    struct ServiceBinding {
        const Waypoint* primary = nullptr;
        const Waypoint* canary = nullptr;
        unsigned canary_percent = 0;
        bool ingress = false;  // gateways into the mesh pass it too
    };
    // own_namespace_only: for a ServiceEntry that only its namespace sees.
    [[nodiscard]] ServiceBinding of_service(const ObjectMeta& object, std::string_view kind, bool own_namespace_only,
                                            Diagnostics& problems) const;

  private:
    struct Reference {  // a use-waypoint label: where it stands and what it names
        const LabelMap* labels = nullptr;
        const LabelMap* annotations = nullptr;
        bool inherited = false;
        std::string ns, name;
    };
    struct Obstacle {  // both empty: none
        std::string_view reason, why;
    };
    [[nodiscard]] Obstacle obstacle(const Waypoint* waypoint, const std::string& ns, bool to_service) const;
    [[nodiscard]] bool allows(const Waypoint& waypoint, std::string_view ns) const;
    [[nodiscard]] const ObjectMeta* namespace_meta(std::string_view ns) const;
    [[nodiscard]] std::optional<Reference> reference(const ObjectMeta& object) const;
    void add_canary(const ObjectMeta& object, const Reference& primary, ServiceBinding& to, std::string_view kind,
                    Diagnostics& problems) const;

    std::map<std::string, Waypoint, std::less<>> by_key_;
    const NamespaceMap& namespaces_;
};

}  // namespace warren::cluster
