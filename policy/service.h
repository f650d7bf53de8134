// SPDX-License-Identifier: Apache-2.0
// Service: a virtual address or hostname in front of workloads (data-plane contract 1.2). A value; immutable once in a snapshot.
// Its endpoints are not part of it: they change far more often, see snapshot.h.
#pragma once

#include "base/ip.h"
#include "policy/array.h"
#include "policy/ref.h"
#include "policy/text.h"
#include "policy/workload.h"

#include <optional>

namespace warren::policy {

enum class IpFamilies : uint8_t { Automatic, V4Only, V6Only, Dual };
enum class Visibility : uint8_t { Public, Namespace };
enum class LbScope : uint8_t { Region, Zone, Subzone, Node, Cluster, Network };
enum class LbMode : uint8_t { Unspecified, Strict, Failover, Passthrough };
enum class HealthPolicy : uint8_t { OnlyHealthy, AllowAll };
enum class AppProtocol : uint8_t { Unknown, Http11, Http2, Grpc, Tcp, Tls };

struct LoadBalancing {
    Array<LbScope> routing_preference;
    LbMode mode = LbMode::Unspecified;
    HealthPolicy health_policy = HealthPolicy::OnlyHealthy;
    bool operator==(const LoadBalancing&) const = default;
};

struct NetworkCidr {
    Text network;
    base::Cidr cidr;
    bool operator==(const NetworkCidr&) const = default;
};

struct ServicePort {
    uint16_t service_port = 0;
    uint16_t target_port = 0;  // 0: a named port, each endpoint maps it
    AppProtocol app_protocol = AppProtocol::Unknown;
    bool operator==(const ServicePort&) const = default;
};

struct WeightedWaypoint {
    GatewayAddress destination;
    uint32_t weight = 0;
    bool operator==(const WeightedWaypoint&) const = default;
};

struct Service : Counted {
    Text key;  // "namespace/hostname", the resource name
    Text name;
    Text ns;
    Text hostname;  // may be a wildcard such as *.example.com
    Array<NetworkAddress> vips;
    Array<NetworkCidr> cidr_vips;
    Array<ServicePort> ports;
    Array<Identity> subject_alt_names;  // only those that parse as SPIFFE; contract 1.2 ignores the others
    std::unique_ptr<const GatewayAddress> waypoint;
    Array<WeightedWaypoint> weighted_waypoints;
    std::optional<LoadBalancing> load_balancing;
    IpFamilies ip_families = IpFamilies::Automatic;
    Visibility visibility = Visibility::Public;
    bool canonical = false;
    bool ingress_use_waypoint = false;

    [[nodiscard]] const ServicePort* port(uint16_t service_port) const;
    [[nodiscard]] bool passthrough() const { return load_balancing && load_balancing->mode == LbMode::Passthrough; }
    [[nodiscard]] bool allows_unhealthy() const { return load_balancing && load_balancing->health_policy == HealthPolicy::AllowAll; }
    // NAMESPACE services are usable by clients of their own namespace only; a lookup without a client sees everything.
    [[nodiscard]] bool visible_to(const Text* client_ns) const {
        return visibility == Visibility::Public || client_ns == nullptr || *client_ns == ns;
    }
};

[[nodiscard]] bool operator==(const Service& a, const Service& b);

using ServiceRef = Ref<const Service>;

}  // namespace warren::policy
