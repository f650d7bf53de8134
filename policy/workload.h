// SPDX-License-Identifier: Apache-2.0
// Workload: one endpoint of the mesh (pod, VM, static entry, or a hostname), as the wire model has it (data-plane contract 1.2).
// Defaults of the wire are already applied (trust domain, account, cluster, capacity). A value; immutable once in a snapshot.
#pragma once

#include "base/ip.h"
#include "policy/array.h"
#include "policy/identity.h"
#include "policy/ref.h"
#include "policy/text.h"

#include <memory>
#include <variant>

namespace warren::policy {

// An address inside a network; the empty network only equals the empty network. Text form "<network>/<ip>".
struct NetworkAddress {
    Text network;
    base::IpAddr ip;
    bool operator==(const NetworkAddress&) const = default;
    [[nodiscard]] uint64_t hash() const noexcept { return network.hash() * 31 ^ ip.hash(); }
    [[nodiscard]] std::string to_string() const { return network.str() + '/' + ip.to_string(); }
};

// A waypoint or network gateway: an address, or a service or workload by "namespace/hostname".
struct GatewayAddress {
    std::variant<NetworkAddress, Text> destination;
    uint16_t hbone_mtls_port = 0;
    bool operator==(const GatewayAddress&) const = default;
};

struct PortPair {
    uint16_t service_port = 0;
    uint16_t target_port = 0;  // 0: not mapped here
    bool operator==(const PortPair&) const = default;
};

enum class TunnelProtocol : uint8_t { None, Hbone };
enum class NetworkMode : uint8_t { Standard, HostNetwork };
enum class Health : uint8_t { Healthy, Unhealthy };
enum class WorkloadType : uint8_t { Deployment, CronJob, Pod, Job };
enum class AppTunnelProtocol : uint8_t { None, Proxy };

struct ApplicationTunnel {
    AppTunnelProtocol protocol = AppTunnelProtocol::None;
    uint16_t port = 0;  // 0: not overridden
    bool operator==(const ApplicationTunnel&) const = default;
};

struct Locality {
    Text region, zone, subzone;
    bool operator==(const Locality&) const = default;
};

// Membership of a workload in one service: this endpoint's own port mapping.
struct WorkloadService {
    Text service;  // "namespace/hostname"
    Array<PortPair> ports;
    bool operator==(const WorkloadService&) const = default;
};

struct Workload : Counted {
    uint32_t capacity = 1;  // load-balancing weight; 0 is legal. Here, beside the count, for it costs sixteen bytes elsewhere
    Text uid;               // primary key, for example "Kubernetes//Pod/prod/web-1"
    Text name;
    Text ns;
    Text service_account;
    Text trust_domain;
    Text network;
    Text node;
    Text cluster_id;
    Text canonical_name;
    Text canonical_revision;
    Text workload_name;
    Text hostname;  // resolved when connecting, where there is no address
    Locality locality;
    Array<base::IpAddr> addresses;
    Array<WorkloadService> services;
    Array<Text> authorization_policies;  // resource names of the selector policies that apply
    std::unique_ptr<const GatewayAddress> waypoint;
    std::unique_ptr<const GatewayAddress> network_gateway;
    std::unique_ptr<const ApplicationTunnel> application_tunnel;
    TunnelProtocol tunnel_protocol = TunnelProtocol::None;
    NetworkMode network_mode = NetworkMode::Standard;
    Health status = Health::Healthy;
    WorkloadType type = WorkloadType::Deployment;
    bool native_tunnel = false;

    [[nodiscard]] Identity identity() const { return {trust_domain, ns, service_account}; }
    [[nodiscard]] bool has_address(base::IpAddr ip) const;
    // This endpoint's entry for a service, or null.
    [[nodiscard]] const WorkloadService* membership(const Text& service) const;
};

[[nodiscard]] bool operator==(const Workload& a, const Workload& b);

using WorkloadRef = Ref<const Workload>;

}  // namespace warren::policy
