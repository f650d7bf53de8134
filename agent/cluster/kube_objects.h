// SPDX-License-Identifier: Apache-2.0
// The Kubernetes objects a mesh is made of, cut down to the fields that the conversion reads (Kubernetes contract 2.1). Filled by
// read_objects; plain values, no thread affinity. Fields keep Kubernetes' meaning; absent and empty are the same unless said otherwise.
#pragma once

#include "agent/cluster/kube_policies.h"
#include "agent/cluster/labels.h"
#include "agent/cluster/object_meta.h"
#include "base/ip.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace warren::cluster {

struct ContainerPort {
    std::string name;
    uint16_t port = 0;
    bool operator==(const ContainerPort&) const = default;
};

struct Pod {
    ObjectMeta meta;
    std::string service_account;
    std::string node;
    std::string phase;
    bool host_network = false;
    bool ready = false;  // condition Ready is True
    std::vector<base::IpAddr> ips;
    std::vector<ContainerPort> tcp_ports;  // of containers and of init containers that keep running
    bool operator==(const Pod&) const = default;
};

struct KubeNode {
    ObjectMeta meta;
    bool operator==(const KubeNode&) const = default;
};

struct Namespace {
    ObjectMeta meta;
    bool operator==(const Namespace&) const = default;
};

struct ServicePort {
    std::string name;
    bool udp = false;
    uint16_t port = 0;
    uint16_t target = 0;      // 0 with a named target
    std::string target_name;  // of a container port
    std::optional<std::string> app_protocol;
    bool operator==(const ServicePort&) const = default;
};

struct KubeService {
    ObjectMeta meta;
    bool external_name = false;
    bool publish_not_ready = false;
    bool internal_local = false;  // internalTrafficPolicy: Local
    std::string traffic_distribution;
    LabelMap selector;
    std::vector<base::IpAddr> cluster_ips;  // none for a headless service
    std::vector<std::string> ip_families;
    std::vector<ServicePort> ports;
    bool operator==(const KubeService&) const = default;
};

struct SliceEndpoint {
    std::vector<base::IpAddr> ips;
    std::string first;  // the first address as written: part of the workload's uid
    bool ready = true;
    bool is_pod = false;                    // targetRef.kind is Pod
    std::string pod_ns, pod_name, pod_uid;  // of a targetRef to a pod
    bool operator==(const SliceEndpoint&) const = default;
};

struct SlicePort {
    std::string name;
    uint16_t port = 0;
    bool operator==(const SlicePort&) const = default;
};

struct EndpointSlice {
    ObjectMeta meta;
    bool fqdn = false;
    std::vector<SlicePort> tcp_ports;
    std::vector<SliceEndpoint> endpoints;
    bool operator==(const EndpointSlice&) const = default;
};

// The spec of a WorkloadEntry, and of an endpoint inside a ServiceEntry.
struct EntrySpec {
    std::string address;  // an address or a host name; empty: only its network is known
    std::map<std::string, uint16_t> ports;
    LabelMap labels;
    std::string network;
    std::string locality;
    uint32_t weight = 0;
    std::string service_account;
    bool operator==(const EntrySpec&) const = default;
};

struct WorkloadEntry {
    ObjectMeta meta;
    EntrySpec spec;
    bool operator==(const WorkloadEntry&) const = default;
};

enum class Resolution : uint8_t { None, Static, Dns, DnsRoundRobin, DynamicDns };

struct EntryPort {
    std::string name, protocol;
    uint16_t number = 0;
    uint16_t target = 0;  // 0: not given
    bool operator==(const EntryPort&) const = default;
};

struct EntryAddress {
    base::IpAddr ip;
    std::optional<unsigned> length;  // of a prefix that is not one host
    bool operator==(const EntryAddress&) const = default;
};

struct ServiceEntry {
    ObjectMeta meta;
    std::vector<std::string> hosts;
    std::vector<EntryAddress> addresses;
    std::vector<std::pair<std::string, base::IpAddr>> allocated;  // status.addresses: host, address
    std::vector<EntryPort> ports;
    Resolution resolution = Resolution::None;
    std::vector<EntrySpec> endpoints;
    bool has_workload_selector = false;
    LabelMap workload_selector;
    std::vector<std::string> subject_alt_names;
    bool operator==(const ServiceEntry&) const = default;
};

struct GatewayAddress {
    bool is_hostname = false;
    std::string value;
    bool operator==(const GatewayAddress&) const = default;
};

struct Listener {
    std::string name, protocol;
    uint16_t port = 0;
    enum class From : uint8_t { Same, All, Selector } from = From::Same;
    LabelSelector selector;
    bool operator==(const Listener&) const = default;
};

// gateway.networking.k8s.io: waypoints and references to other networks.
struct Gateway {
    ObjectMeta meta;
    std::string class_name;
    std::vector<Listener> listeners;
    std::vector<GatewayAddress> spec_addresses, status_addresses;  // of types IPAddress and Hostname
    bool programmed = false;                                       // status has an address of any type
    bool operator==(const Gateway&) const = default;
};

struct GatewayClass {
    ObjectMeta meta;
    bool operator==(const GatewayClass&) const = default;
};

// Everything there is. No two objects of a kind have the same namespace and name.
struct Objects {
    std::vector<Pod> pods;
    std::vector<KubeNode> nodes;
    std::vector<Namespace> namespaces;
    std::vector<KubeService> services;
    std::vector<EndpointSlice> slices;
    std::vector<WorkloadEntry> workload_entries;
    std::vector<ServiceEntry> service_entries;
    std::vector<Gateway> gateways;
    std::vector<GatewayClass> gateway_classes;
    std::vector<AuthorizationPolicy> authorization_policies;
    std::vector<PeerAuthentication> peer_authentications;
};

}  // namespace warren::cluster
