// SPDX-License-Identifier: Apache-2.0
// Labels and annotations that steer the conversion (Kubernetes contract 1.1), and the readings of their values.
#pragma once

#include <optional>
#include <string_view>

namespace warren::cluster::keys {

constexpr std::string_view kRevision = "istio.io/rev";
constexpr std::string_view kNetwork = "topology.istio.io/network";
constexpr std::string_view kRegion = "topology.kubernetes.io/region";
constexpr std::string_view kZone = "topology.kubernetes.io/zone";
constexpr std::string_view kSubzone = "topology.istio.io/subzone";
constexpr std::string_view kRedirection = "ambient.istio.io/redirection";
constexpr std::string_view kTunnel = "networking.istio.io/tunnel";
constexpr std::string_view kCanonicalName = "service.istio.io/canonical-name";
constexpr std::string_view kCanonicalRevision = "service.istio.io/canonical-revision";
constexpr std::string_view kWorkloadName = "service.istio.io/workload-name";
constexpr std::string_view kRegistrationGroup = "istio.io/autoRegistrationGroup";
constexpr std::string_view kUseWaypoint = "istio.io/use-waypoint";
constexpr std::string_view kUseWaypointNamespace = "istio.io/use-waypoint-namespace";
constexpr std::string_view kCanary = "istio.io/use-waypoint-canary";
constexpr std::string_view kCanaryNamespace = "istio.io/use-waypoint-canary-namespace";
constexpr std::string_view kCanaryWeight = "istio.io/use-waypoint-canary-weight";
constexpr std::string_view kIngressUseWaypoint = "istio.io/ingress-use-waypoint";
constexpr std::string_view kWaypointFor = "istio.io/waypoint-for";
constexpr std::string_view kInboundBinding = "ambient.istio.io/waypoint-inbound-binding";
constexpr std::string_view kGatewayName = "gateway.networking.k8s.io/gateway-name";
constexpr std::string_view kGatewayManaged = "gateway.istio.io/managed";
constexpr std::string_view kGatewayAccount = "gateway.istio.io/service-account";
constexpr std::string_view kTrafficDistribution = "networking.istio.io/traffic-distribution";
constexpr std::string_view kAllocateAddress = "networking.istio.io/enable-autoallocate-ip";
constexpr std::string_view kConnectStrategy = "istio.io/connect-strategy";
constexpr std::string_view kDryRun = "istio.io/dry-run";
constexpr std::string_view kServiceName = "kubernetes.io/service-name";

// As Go reads a bool; none for any other text.
[[nodiscard]] inline std::optional<bool> parse_bool(std::string_view text) {
    for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
        if (text == yes) return true;
    for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
        if (text == no) return false;
    return std::nullopt;
}

}  // namespace warren::cluster::keys
