// SPDX-License-Identifier: Apache-2.0
// Service and ServiceEntry -> istio.workload.Service (Kubernetes contract 2.7). Pure functions of one object and what it depends on.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/waypoints.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

// A service as others need it: what is sent, and what resolves the ports of its members.
struct ServiceInfo {
    struct PortNames {
        uint16_t service_port = 0;
        std::string name;
        std::string target_name;  // of a container port: what it says is needed, or the port is left out
        bool has_target = false;  // a ServiceEntry port with a targetPort of its own
    };
    istio::workload::Service sent;
    std::vector<PortNames> ports;
    LabelMap selector;  // empty: selects nothing
    bool from_service = false;
    const ObjectMeta* meta = nullptr;  // of the object, borrowed

    [[nodiscard]] std::string key() const { return sent.namespace_() + '/' + sent.hostname(); }
    // By the port's number: of two transports with one number the last counts, as with the reference.
    [[nodiscard]] const PortNames* names_of(uint32_t service_port) const;
};

// What services depend on beside themselves.
struct ServiceContext {
    const Settings& settings;
    const Waypoints& waypoints;
    const Waypoints::NamespaceMap& namespaces;
    const std::string& network;
    Diagnostics& problems;
};

[[nodiscard]] std::string service_hostname(std::string_view name, std::string_view ns, const Settings& settings);
// canonical is true; not for an ExternalName service.
[[nodiscard]] ServiceInfo convert_service(const KubeService& service, const ServiceContext& context);
// One per host; canonical is not yet decided.
[[nodiscard]] std::vector<ServiceInfo> convert_service_entry(const ServiceEntry& entry, const ServiceContext& context);

// Of services with the same hostname: drops the losers inside each namespace, and marks those that count in other namespaces.
void settle_hostnames(std::vector<ServiceInfo>& services);

}  // namespace warren::cluster
