// SPDX-License-Identifier: Apache-2.0
// What the conversion of one object looks up: everything else of the mesh, indexed, and kept from one conversion to the next. Namespaces,
// nodes and gateways are looked at anew each time, they are few; services and policies are kept up to date by their owner, Conversion,
// whose thread it belongs to. The settings outlive it; the objects only the conversion.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/convert_service.h"
#include "agent/cluster/policy_table.h"
#include "agent/cluster/service_table.h"
#include "agent/cluster/waypoints.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

// A way into another network, told by a Gateway of class istio-remote.
struct NetworkGateway {
    std::string network;
    std::string ns, service_account;
    std::string where;    // of the Gateway, for messages
    std::string address;  // an address or a host name
    uint16_t hbone_port = 0;

    bool operator==(const NetworkGateway& o) const = default;
};

class MeshView {
  public:
    explicit MeshView(const Settings& settings) : settings_(settings), policies_(settings) {}
    MeshView(const MeshView&) = delete;
    MeshView& operator=(const MeshView&) = delete;

    [[nodiscard]] const Settings& settings() const { return settings_; }
    [[nodiscard]] const std::string& network() const { return network_; }
    [[nodiscard]] const Waypoints& waypoints() const { return *waypoints_; }
    [[nodiscard]] const std::vector<NetworkGateway>& network_gateways() const { return gateways_; }
    [[nodiscard]] Diagnostics& problems() const { return problems_; }
    [[nodiscard]] ServiceContext service_context() const { return {settings_, *waypoints_, namespaces_, network_, problems_}; }

    // Whether an object counts: those of discovered namespaces, and of policies and entries those of our revision.
    [[nodiscard]] bool in_mesh(const ObjectMeta& meta) const { return settings_.discovery.empty() || discovered_.contains(meta.ns); }
    [[nodiscard]] bool of_revision(const ObjectMeta& meta) const;

    [[nodiscard]] const KubeNode* node(std::string_view name) const;
    [[nodiscard]] const ServiceInfo* service(std::string_view key) const { return services_.find(key); }  // "namespace/hostname"
    // Those of the namespace whose selector selects the labels.
    [[nodiscard]] std::vector<const ServiceInfo*> services_selecting(const std::string& ns, const LabelMap& labels) const;
    // Selector-less services that an EndpointSlice puts the pod into.
    [[nodiscard]] std::vector<const ServiceInfo*> services_listing(const Pod& pod) const;
    // Those that are still published, of the hosts of one ServiceEntry.
    [[nodiscard]] std::vector<const ServiceInfo*> services_of(const ServiceEntry& entry) const;
    // "namespace/name" of every policy that a workload with these labels names.
    [[nodiscard]] std::vector<std::string> policies(const std::string& ns, const LabelMap& labels) const {
        return policies_.names(ns, labels);
    }
    [[nodiscard]] const NetworkGateway* gateway_to(std::string_view network) const;

    // For the owner.
    [[nodiscard]] ServiceTable& service_table() { return services_; }
    [[nodiscard]] PolicyTable& policy_table() { return policies_; }
    void clear();
    // Namespaces, nodes, and what they say of the whole mesh. False: something that everything depends on has changed.
    bool look(const Objects& objects);
    // The gateways; names of waypoints that changed to the set. False as above.
    bool look_at_gateways(const Objects& objects, std::set<std::string, std::less<>>& waypoints);
    [[nodiscard]] const Waypoints::NamespaceMap& namespaces() const { return namespaces_; }
    // A slice lists a pod ("NS/NAME/UID") for a service.
    void list(const std::string& pod, const std::string& slice, const std::string& service);
    void unlist(const std::string& pod, const std::string& slice);

  private:
    void add_network_gateways(const Gateway& gateway, std::vector<NetworkGateway>& to) const;

    const Settings& settings_;
    mutable Diagnostics problems_;  // of the object being converted
    std::string network_;
    Waypoints::NamespaceMap namespaces_;
    std::set<std::string, std::less<>> discovered_;
    std::map<std::string_view, const KubeNode*> nodes_;
    std::unique_ptr<Waypoints> waypoints_;
    std::vector<NetworkGateway> gateways_;
    ServiceTable services_;
    PolicyTable policies_;
    std::unordered_map<std::string, std::vector<std::pair<std::string, std::string>>> listed_;  // pod -> slice, service
};

}  // namespace warren::cluster
