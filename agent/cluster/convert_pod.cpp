// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert_workload.h"
#include "agent/cluster/keys.h"
#include "agent/cluster/proto_address.h"

#include <algorithm>

namespace warren::cluster {

namespace {

// "web-5d4f" with suffix "5d4f": "web".
std::optional<std::string> without_suffix(const std::string& name, std::string_view suffix) {
    if (suffix.empty() || name.size() <= suffix.size() + 1 || !name.ends_with(suffix)) return std::nullopt;
    const size_t dash = name.size() - suffix.size() - 1;
    return name[dash] == '-' ? std::optional(name.substr(0, dash)) : std::nullopt;
}

// A CronJob's jobs are named after it and the minute they are of: 8 to 10 digits.
std::string job_name(const std::string& name) {
    const size_t dash = name.rfind('-');
    if (dash == std::string::npos || dash == 0) return name;
    const std::string_view digits = std::string_view(name).substr(dash + 1);
    const bool minute = digits.size() >= 8 && digits.size() <= 10 && digits.find_first_not_of("0123456789") == std::string_view::npos;
    return minute ? name.substr(0, dash) : name;
}

std::string workload_name(const ObjectMeta& pod) {
    if (const std::string_view given = label(pod.labels, keys::kWorkloadName); !given.empty()) return std::string(given);
    if (pod.generate_name.empty() || pod.owner_name.empty()) return pod.name;
    if (pod.owner_kind == "ReplicaSet") {
        for (const std::string_view hash : {"pod-template-hash", "rollouts-pod-template-hash"})
            if (auto name = without_suffix(pod.owner_name, label(pod.labels, hash))) return *name;
    } else if (pod.owner_kind == "ReplicationController") {
        if (const std::string_view name = label(pod.labels, "deploymentconfig"); !name.empty()) return std::string(name);
    } else if (pod.owner_kind == "Job") {
        return job_name(pod.owner_name);
    }
    return pod.owner_name;
}

std::string_view first_of(const LabelMap& labels, std::initializer_list<std::string_view> keys, std::string_view otherwise) {
    for (const std::string_view key : keys)
        if (const std::string_view value = label(labels, key); !value.empty()) return value;
    return otherwise;
}

uint16_t container_port(const Pod& pod, std::string_view name) {
    const auto found =
        std::find_if(pod.tcp_ports.begin(), pod.tcp_ports.end(), [&](const ContainerPort& p) { return !p.name.empty() && p.name == name; });
    return found == pod.tcp_ports.end() ? uint16_t{0} : found->port;
}

istio::workload::PortList pod_ports(const Pod& pod, const ServiceInfo& service) {
    istio::workload::PortList out;
    for (const auto& port : service.sent.ports()) {
        uint32_t target = port.target_port();
        const ServiceInfo::PortNames* names = service.names_of(port.service_port());
        if (names != nullptr && service.from_service && !names->target_name.empty()) {
            target = container_port(pod, names->target_name);
            if (target == 0) continue;  // this pod has no such port
        } else if (names != nullptr && !service.from_service && !names->has_target) {
            if (const uint16_t named = container_port(pod, names->name); named != 0) target = named;
        }
        auto* added = out.add_ports();
        added->set_service_port(port.service_port());
        added->set_target_port(target);
    }
    return out;
}

void set_locality(const KubeNode* node, Workload& to) {
    if (node == nullptr) return;
    const std::string_view region = label(node->meta.labels, keys::kRegion), zone = label(node->meta.labels, keys::kZone),
                           subzone = label(node->meta.labels, keys::kSubzone);
    if (region.empty() && zone.empty() && subzone.empty()) return;
    to.mutable_locality()->set_region(std::string(region));
    to.mutable_locality()->set_zone(std::string(zone));
    to.mutable_locality()->set_subzone(std::string(subzone));
}

}  // namespace

void set_names(const LabelMap& labels, std::string workload_name, Workload& to) {
    to.set_canonical_name(std::string(first_of(labels, {keys::kCanonicalName, "app.kubernetes.io/name", "app"}, workload_name)));
    to.set_canonical_revision(std::string(first_of(labels, {keys::kCanonicalRevision, "app.kubernetes.io/version", "version"}, "latest")));
    to.set_workload_name(std::move(workload_name));
    to.set_workload_type(istio::workload::POD);
}

void set_tunnel(const LabelMap& labels, const LabelMap& annotations, Workload& to) {
    if (label(annotations, keys::kRedirection) == "enabled") to.set_tunnel_protocol(istio::workload::HBONE);
    std::string_view tunnels = label(labels, keys::kTunnel);
    while (!tunnels.empty()) {
        const size_t comma = std::min(tunnels.find(','), tunnels.size());
        if (tunnels.substr(0, comma) == "http") {
            to.set_tunnel_protocol(istio::workload::HBONE);
            to.set_native_tunnel(true);
        }
        tunnels.remove_prefix(std::min(comma + 1, tunnels.size()));
    }
}

void set_surroundings(const std::string& network, const MeshView& mesh, Workload& to) {
    to.set_cluster_id(mesh.settings().cluster_id);
    if (mesh.settings().trust_domain != "cluster.local") to.set_trust_domain(mesh.settings().trust_domain);
    to.set_network(network);
    const NetworkGateway* gateway = mesh.gateway_to(network);
    if (gateway == nullptr) return;
    to.mutable_network_gateway()->set_hbone_mtls_port(gateway->hbone_port);
    if (const auto ip = base::IpAddr::parse(gateway->address)) {
        set_address(*to.mutable_network_gateway()->mutable_address(), gateway->network, *ip);
    } else {
        to.mutable_network_gateway()->mutable_hostname()->set_namespace_(gateway->ns);
        to.mutable_network_gateway()->mutable_hostname()->set_hostname(gateway->address);
    }
}

void set_waypoint(const ObjectMeta& object, std::string_view kind, const MeshView& mesh, Workload& to) {
    if (const Waypoint* own = mesh.waypoints().of_instance(object.ns, object.labels)) {
        if (own->tunnel) *to.mutable_application_tunnel() = *own->tunnel;
    } else if (const Waypoint* waypoint = mesh.waypoints().of_workload(object, kind, mesh.problems())) {
        *to.mutable_waypoint() = waypoint->address;
    }
}

void set_policies(const std::string& ns, const LabelMap& labels, const MeshView& mesh, Workload& to) {
    for (std::string& key : mesh.policies(ns, labels)) to.add_authorization_policies(std::move(key));
}

std::string pod_uid(const std::string& key, const Settings& settings) { return settings.cluster_id + "//Pod/" + key; }

std::optional<Workload> convert_pod(const Pod& pod, const MeshView& mesh) {
    if (pod.phase == "Succeeded" || pod.phase == "Failed" || pod.ips.empty()) return std::nullopt;
    Workload out;
    out.set_uid(pod_uid(pod.meta.key(), mesh.settings()));
    out.set_name(pod.meta.name);
    out.set_namespace_(pod.meta.ns);
    for (const base::IpAddr& ip : pod.ips) out.add_addresses(address_bytes(ip));
    set_surroundings(mesh.network(), mesh, out);
    set_tunnel(pod.meta.labels, pod.meta.annotations, out);
    out.set_service_account(pod.service_account);
    out.set_node(pod.node);
    set_names(pod.meta.labels, workload_name(pod.meta), out);
    set_locality(mesh.node(pod.node), out);
    if (!pod.ready || pod.meta.deleting) out.set_status(istio::workload::UNHEALTHY);
    if (pod.host_network) out.set_network_mode(istio::workload::HOST_NETWORK);
    set_waypoint(pod.meta, "Pod", mesh, out);
    for (const ServiceInfo* service : mesh.services_selecting(pod.meta.ns, pod.meta.labels))
        (*out.mutable_services())[service->key()] = pod_ports(pod, *service);
    for (const ServiceInfo* service : mesh.services_listing(pod)) (*out.mutable_services())[service->key()] = pod_ports(pod, *service);
    set_policies(pod.meta.ns, pod.meta.labels, mesh, out);
    return out;
}

}  // namespace warren::cluster
