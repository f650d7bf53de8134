// SPDX-License-Identifier: Apache-2.0
// Service and ServiceEntry -> istio.workload.Service (Kubernetes contract 2.7). Pure functions of one object and what it depends on.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/waypoints.h"

#include <cstdint>
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
        bool operator==(const PortNames&) const = default;
    };
    istio::workload::Service sent;
    std::vector<PortNames> ports;
    LabelMap selector;  // empty: selects nothing
    bool from_service = false;
    int64_t created_ns = 0;  // of the object, whose name and namespace are those sent

    [[nodiscard]] std::string key() const { return sent.namespace_() + '/' + sent.hostname(); }
    // Of two with one hostname, which counts first: Kubernetes services, then the oldest.
    [[nodiscard]] bool before(const ServiceInfo& o) const;
    [[nodiscard]] bool same_as(const ServiceInfo& o) const;
    [[nodiscard]] bool same_to_members(const ServiceInfo& o) const;  // what workloads in it are told of it
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

// Whether a host of the entry has addresses of its own that the mesh gives it, in its status (Kubernetes contract 2.8).
[[nodiscard]] bool allocates_address(const ServiceEntry& entry, std::string_view host);
[[nodiscard]] std::string service_hostname(std::string_view name, std::string_view ns, const Settings& settings);
// canonical is true; not for an ExternalName service.
[[nodiscard]] ServiceInfo convert_service(const KubeService& service, const ServiceContext& context);
// One per host; canonical is not yet decided (service_table.h).
[[nodiscard]] std::vector<ServiceInfo> convert_service_entry(const ServiceEntry& entry, const ServiceContext& context);

}  // namespace warren::cluster
