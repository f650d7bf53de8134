// SPDX-License-Identifier: Apache-2.0
// What the conversion of one workload looks up: everything else of the mesh, indexed. Built once per conversion; borrows the objects and
// the settings, which outlive it; only read afterwards.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/convert_peer_authentication.h"
#include "agent/cluster/convert_service.h"
#include "agent/cluster/waypoints.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

// A way into another network, told by a Gateway of class istio-remote.
struct NetworkGateway {
    std::string network;
    std::string ns, service_account;
    std::string where;    // of the Gateway, for messages
    std::string address;  // an address or a host name
    uint16_t hbone_port = 0;
};

class MeshView {
  public:
    // The objects are those that count: of our revision and of discovered namespaces.
    MeshView(const Objects& objects, const Settings& settings, Diagnostics& problems);
    MeshView(const MeshView&) = delete;
    MeshView& operator=(const MeshView&) = delete;

    [[nodiscard]] const Settings& settings() const { return settings_; }
    [[nodiscard]] const std::string& network() const { return network_; }
    [[nodiscard]] const Waypoints& waypoints() const { return *waypoints_; }
    [[nodiscard]] const std::vector<ServiceInfo>& services() const { return services_; }
    [[nodiscard]] const std::vector<NetworkGateway>& network_gateways() const { return gateways_; }
    [[nodiscard]] const std::map<std::string, istio::security::Authorization>& authorizations() const { return authorizations_; }
    [[nodiscard]] Diagnostics& problems() const { return problems_; }

    [[nodiscard]] const KubeNode* node(std::string_view name) const;
    [[nodiscard]] const ServiceInfo* service(std::string_view key) const;  // "namespace/hostname"
    // Those of the namespace whose selector selects the labels.
    [[nodiscard]] std::vector<const ServiceInfo*> services_selecting(std::string_view ns, const LabelMap& labels) const;
    // Selector-less services that an EndpointSlice puts the pod into.
    [[nodiscard]] std::vector<const ServiceInfo*> services_listing(const Pod& pod) const;
    // Those that are still published, of the hosts of one ServiceEntry.
    [[nodiscard]] std::vector<const ServiceInfo*> services_of(const ServiceEntry& entry) const;
    // "namespace/name" of every policy that a workload with these labels names.
    [[nodiscard]] std::vector<std::string> policies(std::string_view ns, const LabelMap& labels) const;
    [[nodiscard]] const NetworkGateway* gateway_to(std::string_view network) const;

  private:
    struct Selecting {
        const LabelMap* selector;
        std::string key;
    };
    void add_services(const Objects& objects);
    void add_policies(const Objects& objects);
    void add_slices(const Objects& objects);
    void add_gateways(const Objects& objects);
    [[nodiscard]] PeerModes modes_of(std::string_view ns) const;

    const Settings& settings_;
    Diagnostics& problems_;
    std::string network_;
    Waypoints::NamespaceMap namespaces_;
    std::map<std::string_view, const KubeNode*> nodes_;
    std::unique_ptr<Waypoints> waypoints_;
    std::vector<ServiceInfo> services_;
    std::map<std::string, const ServiceInfo*, std::less<>> services_by_key_;
    std::map<std::string_view, std::vector<const ServiceInfo*>> services_by_ns_;
    std::map<std::string, std::vector<std::string>> services_by_pod_;  // "ns/name/uid" of a pod -> service keys
    std::vector<NetworkGateway> gateways_;
    std::map<std::string, istio::security::Authorization> authorizations_;
    std::map<std::string_view, std::vector<Selecting>> policies_by_ns_;
    std::map<std::string_view, PeerModes> modes_by_ns_;
    PeerModes mesh_modes_;
};

}  // namespace warren::cluster
