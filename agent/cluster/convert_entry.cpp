// SPDX-License-Identifier: Apache-2.0
// Workloads that are not pods: WorkloadEntry, endpoints of a ServiceEntry and of an EndpointSlice, gateways of other networks.
#include "agent/cluster/convert_workload.h"
#include "agent/cluster/keys.h"
#include "agent/cluster/proto_address.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

namespace {

istio::workload::PortList entry_ports(const EntrySpec& entry, const ServiceInfo& service) {
    istio::workload::PortList out;
    for (const auto& port : service.sent.ports()) {
        uint32_t target = port.target_port();
        if (const ServiceInfo::PortNames* names = service.names_of(port.service_port())) {
            const bool by_target = service.from_service && !names->target_name.empty();
            const auto own = entry.ports.find(by_target ? names->target_name : names->name);
            if (own != entry.ports.end())
                target = own->second;
            else if (by_target)
                continue;  // this entry has no such port
        }
        auto* added = out.add_ports();
        added->set_service_port(port.service_port());
        added->set_target_port(target);
    }
    return out;
}

void set_entry_address(const std::string& address, Workload& to) {
    if (const auto ip = base::IpAddr::parse(address))
        to.add_addresses(address_bytes(*ip));
    else
        to.set_hostname(address);
}

// "region/zone/subzone", the later parts optional.
void set_entry_locality(std::string_view text, Workload& to) {
    std::string_view parts[3];
    for (std::string_view& part : parts) {
        const size_t slash = std::min(text.find('/'), text.size());
        part = text.substr(0, slash);
        text.remove_prefix(std::min(slash + 1, text.size()));
    }
    if (parts[0].empty() && parts[1].empty() && parts[2].empty()) return;
    to.mutable_locality()->set_region(std::string(parts[0]));
    to.mutable_locality()->set_zone(std::string(parts[1]));
    to.mutable_locality()->set_subzone(std::string(parts[2]));
}

void set_entry(const EntrySpec& entry, Workload& to) {
    to.set_service_account(entry.service_account);
    set_entry_address(entry.address, to);
    set_entry_locality(entry.locality, to);
    if (entry.weight > 0) to.mutable_capacity()->set_value(entry.weight);
}

std::string entry_workload_name(const ObjectMeta& entry) {
    if (const std::string_view group = label(entry.annotations, keys::kRegistrationGroup); !group.empty()) return std::string(group);
    if (const std::string_view name = label(entry.labels, keys::kWorkloadName); !name.empty()) return std::string(name);
    return entry.name;
}

bool resolves_names(Resolution resolution) {
    return resolution == Resolution::Dns || resolution == Resolution::DnsRoundRobin || resolution == Resolution::DynamicDns;
}

Workload convert_endpoint(const ServiceEntry& entry, const EntrySpec& endpoint, const std::string& network, const MeshView& mesh) {
    Workload out;
    out.set_uid(mesh.settings().cluster_id + "/networking.istio.io/ServiceEntry/" + entry.meta.key() + '/' + endpoint.address);
    out.set_name(entry.meta.name);
    out.set_namespace_(entry.meta.ns);
    set_surroundings(network, mesh, out);
    set_entry(endpoint, out);
    // Names, tunnel and policies go by the labels of the ServiceEntry, not of the endpoint.
    set_names(entry.meta.labels, entry.meta.name, out);
    set_tunnel(entry.meta.labels, entry.meta.annotations, out);
    set_policies(entry.meta.ns, entry.meta.labels, mesh, out);
    return out;
}

// Slice ports are joined to those of the service by name.
istio::workload::PortList slice_ports(const EndpointSlice& slice, const ServiceInfo& service) {
    istio::workload::PortList out;
    for (const SlicePort& port : slice.tcp_ports) {
        for (const auto& of_service : service.sent.ports()) {
            const ServiceInfo::PortNames* names = service.names_of(of_service.service_port());
            if (names == nullptr || names->name != port.name) continue;
            auto* added = out.add_ports();
            added->set_service_port(of_service.service_port());
            added->set_target_port(port.port);
            break;
        }
    }
    return out;
}

}  // namespace

std::string workload_entry_uid(const std::string& key, const Settings& settings) {
    return settings.cluster_id + "/networking.istio.io/WorkloadEntry/" + key;
}

Workload convert_workload_entry(const WorkloadEntry& entry, const MeshView& mesh) {
    ObjectMeta merged = entry.meta;
    merged.labels.insert(entry.spec.labels.begin(), entry.spec.labels.end());  // those of the object win
    Workload out;
    out.set_uid(workload_entry_uid(entry.meta.key(), mesh.settings()));
    out.set_name(entry.meta.name);
    out.set_namespace_(entry.meta.ns);
    set_surroundings(entry.spec.network.empty() ? mesh.network() : entry.spec.network, mesh, out);
    set_entry(entry.spec, out);
    set_names(merged.labels, entry_workload_name(merged), out);
    set_tunnel(merged.labels, merged.annotations, out);
    set_waypoint(merged, "WorkloadEntry", mesh, out);
    for (const ServiceInfo* service : mesh.services_selecting(merged.ns, merged.labels))
        (*out.mutable_services())[service->key()] = entry_ports(entry.spec, *service);
    set_policies(merged.ns, merged.labels, mesh, out);
    return out;
}

std::vector<Workload> convert_endpoints(const ServiceEntry& entry, const MeshView& mesh) {
    std::vector<Workload> out;
    const std::vector<const ServiceInfo*> services = mesh.services_of(entry);
    if (services.empty()) return out;
    if (entry.endpoints.empty()) {
        if (entry.has_workload_selector || !resolves_names(entry.resolution)) return out;
        for (const ServiceInfo* service : services) {
            EntrySpec host;
            host.address = service->sent.hostname();
            out.push_back(convert_endpoint(entry, host, mesh.network(), mesh));
            (*out.back().mutable_services())[service->key()] = entry_ports(host, *service);
        }
        return out;
    }
    std::string network = mesh.network();
    for (const EntrySpec& endpoint : entry.endpoints) {
        if (!endpoint.network.empty()) network = endpoint.network;  // and for those after it, as with the reference
        Workload workload = convert_endpoint(entry, endpoint, network, mesh);
        ObjectMeta own;  // an endpoint is no object; what binds it are its labels and its namespace
        own.name = entry.meta.name;
        own.ns = entry.meta.ns;
        own.labels = endpoint.labels;
        own.where = entry.meta.where;
        set_waypoint(own, "endpoint of ServiceEntry", mesh, workload);
        for (const ServiceInfo* service : services) (*workload.mutable_services())[service->key()] = entry_ports(endpoint, *service);
        out.push_back(std::move(workload));
    }
    return out;
}

std::vector<Workload> convert_slice(const EndpointSlice& slice, const MeshView& mesh) {
    std::vector<Workload> out;
    const std::string_view name = label(slice.meta.labels, keys::kServiceName);
    if (name.empty() || slice.fqdn) return out;
    const ServiceInfo* service = mesh.service(slice.meta.ns + '/' + service_hostname(name, slice.meta.ns, mesh.settings()));
    if (service == nullptr || !service->from_service) return out;
    const istio::workload::PortList ports = slice_ports(slice, *service);
    std::set<std::string_view> seen;
    for (const SliceEndpoint& endpoint : slice.endpoints) {
        if (endpoint.is_pod || endpoint.ips.empty() || !seen.insert(endpoint.first).second) continue;
        Workload workload;
        workload.set_uid(mesh.settings().cluster_id + "/discovery.k8s.io/EndpointSlice/" + slice.meta.key() + '/' + endpoint.first);
        workload.set_name(slice.meta.name);
        workload.set_namespace_(slice.meta.ns);
        for (const base::IpAddr& ip : endpoint.ips) workload.add_addresses(address_bytes(ip));
        workload.set_cluster_id(mesh.settings().cluster_id);
        if (mesh.settings().trust_domain != "cluster.local") workload.set_trust_domain(mesh.settings().trust_domain);
        workload.set_network(mesh.network());
        // Nothing is known of such an endpoint; another workload may have the same address, so nobody finds it by that.
        workload.set_network_mode(istio::workload::HOST_NETWORK);
        if (!endpoint.ready) workload.set_status(istio::workload::UNHEALTHY);
        (*workload.mutable_services())[service->key()] = ports;
        out.push_back(std::move(workload));
    }
    return out;
}

Workload convert_network_gateway(const NetworkGateway& gateway) {
    Workload out;
    out.set_uid("NetworkGateway/" + gateway.network + '/' + gateway.address + '/' + std::to_string(gateway.hbone_port));
    out.set_name(out.uid());
    out.set_namespace_(gateway.ns);
    out.set_service_account(gateway.service_account);
    out.set_network(gateway.network);
    set_entry_address(gateway.address, out);
    return out;
}

}  // namespace warren::cluster
