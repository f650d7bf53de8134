// SPDX-License-Identifier: Apache-2.0
// ResourceReader, and the messages of workloads and services from values.
#include "policy/fields_proto.h"
#include "policy/mesh_proto.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <algorithm>
#include <climits>

namespace warren::policy {

namespace pb = istio::workload;
using base::Result;

struct ResourceReader::Messages {
    pb::Address address;
    pb::Workload workload;
    pb::Service service;
    istio::security::Authorization authorization;
    size_t largest = 0;  // bytes read into any of them
};

namespace {

// A message keeps what its largest resource took; beyond this it is not worth keeping.
constexpr size_t kKeepBytes = size_t{1} << 20;

template <class Messages>
Messages& for_bytes(std::unique_ptr<Messages>& messages, size_t size) {
    if (messages->largest > kKeepBytes) messages = std::make_unique<Messages>();
    messages->largest = std::max(messages->largest, size);
    return *messages;
}

template <class Message>
bool parse(Message& to, std::span<const uint8_t> bytes) {
    return bytes.size() <= INT_MAX && to.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// An Address is nearly always one field, tag and length, over the message that matters. Parsing that by itself lets it keep its memory,
// which a oneof member cannot. Nothing for any other layout, which the full parser then reads.
std::span<const uint8_t> sole_field(std::span<const uint8_t> bytes, uint8_t tag) {
    if (bytes.empty() || bytes[0] != tag) return {};
    uint64_t length = 0;
    for (size_t i = 1; i < bytes.size() && i <= 5; ++i) {
        length |= uint64_t{bytes[i] & 0x7fu} << (7 * (i - 1));
        if ((bytes[i] & 0x80) == 0) return length == bytes.size() - i - 1 ? bytes.subspan(i + 1) : std::span<const uint8_t>();
    }
    return {};
}
constexpr uint8_t kWorkloadTag = 1 << 3 | 2;
constexpr uint8_t kServiceTag = 2 << 3 | 2;

base::Error unparsable(std::string_view message, size_t bytes) {
    return base::invalid(std::to_string(bytes) + " bytes that are not a message " + std::string(message) + "; send one");
}

void write(const NetworkAddress& from, pb::NetworkAddress& to) {
    to.set_network(from.network.str());
    to.set_address(write_ip(from.ip));
}

void write(const GatewayAddress& from, pb::GatewayAddress& to) {
    to.set_hbone_mtls_port(from.hbone_mtls_port);
    if (const auto* address = std::get_if<NetworkAddress>(&from.destination)) return write(*address, *to.mutable_address());
    const std::string_view key = std::get<Text>(from.destination);
    const size_t slash = std::min(key.find('/'), key.size());
    to.mutable_hostname()->set_namespace_(std::string(key.substr(0, slash)));
    to.mutable_hostname()->set_hostname(std::string(key.substr(std::min(slash + 1, key.size()))));
}

void write_names(const Workload& from, pb::Workload& to) {
    to.set_uid(from.uid.str());
    to.set_name(from.name.str());
    to.set_namespace_(from.ns.str());
    to.set_service_account(from.service_account.str());
    to.set_trust_domain(from.trust_domain.str());
    to.set_network(from.network.str());
    to.set_node(from.node.str());
    to.set_cluster_id(from.cluster_id.str());
    to.set_canonical_name(from.canonical_name.str());
    to.set_canonical_revision(from.canonical_revision.str());
    to.set_workload_name(from.workload_name.str());
    to.set_hostname(from.hostname.str());
    if (from.locality != Locality()) {
        to.mutable_locality()->set_region(from.locality.region.str());
        to.mutable_locality()->set_zone(from.locality.zone.str());
        to.mutable_locality()->set_subzone(from.locality.subzone.str());
    }
}

void write(const LoadBalancing& from, pb::LoadBalancing& to) {
    for (const LbScope scope : from.routing_preference) to.add_routing_preference(static_cast<pb::LoadBalancing::Scope>(int(scope) + 1));
    to.set_mode(static_cast<pb::LoadBalancing::Mode>(from.mode));
    to.set_health_policy(static_cast<pb::LoadBalancing::HealthPolicy>(from.health_policy));
}

}  // namespace

void to_proto(const Workload& from, pb::Workload& to) {
    to.Clear();
    write_names(from, to);
    for (const base::IpAddr& ip : from.addresses) to.add_addresses(write_ip(ip));
    for (const WorkloadService& service : from.services) {
        pb::PortList& list = (*to.mutable_services())[service.service.str()];
        for (const PortPair& port : service.ports) {
            pb::Port& out = *list.add_ports();
            out.set_service_port(port.service_port);
            out.set_target_port(port.target_port);
        }
    }
    for (const Text& policy : from.authorization_policies) to.add_authorization_policies(policy.str());
    if (from.waypoint) write(*from.waypoint, *to.mutable_waypoint());
    if (from.network_gateway) write(*from.network_gateway, *to.mutable_network_gateway());
    if (from.application_tunnel) {
        to.mutable_application_tunnel()->set_protocol(static_cast<pb::ApplicationTunnel::Protocol>(from.application_tunnel->protocol));
        to.mutable_application_tunnel()->set_port(from.application_tunnel->port);
    }
    if (from.capacity != 1) to.mutable_capacity()->set_value(from.capacity);  // absent is 1
    to.set_tunnel_protocol(static_cast<pb::TunnelProtocol>(from.tunnel_protocol));
    to.set_network_mode(static_cast<pb::NetworkMode>(from.network_mode));
    to.set_status(static_cast<pb::WorkloadStatus>(from.status));
    to.set_workload_type(static_cast<pb::WorkloadType>(from.type));
    to.set_native_tunnel(from.native_tunnel);
}

void to_proto(const Service& from, pb::Service& to) {
    to.Clear();
    to.set_name(from.name.str());
    to.set_namespace_(from.ns.str());
    to.set_hostname(from.hostname.str());
    for (const NetworkAddress& vip : from.vips) write(vip, *to.add_addresses());
    for (const NetworkCidr& vip : from.cidr_vips) {
        pb::NetworkAddress& out = *to.add_addresses();
        write(NetworkAddress{vip.network, vip.cidr.first()}, out);
        out.set_length(vip.cidr.length());
    }
    for (const ServicePort& port : from.ports) {
        pb::Port& out = *to.add_ports();
        out.set_service_port(port.service_port);
        out.set_target_port(port.target_port);
        out.set_app_protocol(static_cast<pb::AppProtocol>(port.app_protocol));
    }
    for (const Identity& identity : from.subject_alt_names) to.add_subject_alt_names(identity.uri());
    if (from.waypoint) write(*from.waypoint, *to.mutable_waypoint());
    for (const WeightedWaypoint& waypoint : from.weighted_waypoints) {
        pb::WeightedWaypoint& out = *to.add_weighted_waypoints();
        write(waypoint.destination, *out.mutable_destination());
        out.set_weight(waypoint.weight);
    }
    if (from.load_balancing) write(*from.load_balancing, *to.mutable_load_balancing());
    to.set_ip_families(static_cast<pb::IPFamilies>(from.ip_families));
    to.set_visibility(static_cast<pb::Service::Visibility>(from.visibility));
    to.set_canonical(from.canonical);
    to.set_ingress_use_waypoint(from.ingress_use_waypoint);
}

ResourceReader::ResourceReader(RecordPool& pool) : pool_(pool), messages_(std::make_unique<Messages>()) {}
ResourceReader::~ResourceReader() = default;

Result<AddressResource> ResourceReader::address(std::span<const uint8_t> bytes) {
    auto workload = [&](const pb::Workload& from) -> Result<AddressResource> {
        return AddressResource(TRY(workload_from_proto(from, pool_)));
    };
    auto service = [&](const pb::Service& from) -> Result<AddressResource> {
        ServiceRef to = TRY(service_from_proto(from, pool_));
        ignored_names_ += static_cast<size_t>(from.subject_alt_names_size()) - to->subject_alt_names.size();
        return AddressResource(std::move(to));
    };
    Messages& messages = for_bytes(messages_, bytes.size());
    const auto refuse = [&] { return unparsable("istio.workload.Address", bytes.size()); };
    if (const auto payload = sole_field(bytes, kWorkloadTag); !payload.empty()) {
        if (!parse(messages.workload, payload)) return refuse();
        return workload(messages.workload);
    }
    if (const auto payload = sole_field(bytes, kServiceTag); !payload.empty()) {
        if (!parse(messages.service, payload)) return refuse();
        return service(messages.service);
    }
    pb::Address& address = messages.address;
    if (!parse(address, bytes)) return refuse();
    if (address.has_workload()) return workload(address.workload());
    if (address.has_service()) return service(address.service());
    return base::invalid("address: neither workload nor service; set one");
}

PolicyResource ResourceReader::policy(std::string_view name, std::span<const uint8_t> bytes) {
    istio::security::Authorization& read = for_bytes(messages_, bytes.size()).authorization;
    if (parse(read, bytes)) return policy_from_proto(name, read, pool_);
    PolicyRefusal refusal{pool_.intern(name), pool_.intern(read.namespace_()), Scope::WorkloadSelector, read.dry_run(),
                          unparsable("istio.security.Authorization", bytes.size()).detail};
    // Zero is also what an unread scope looks like, and would put the whole mesh under this policy.
    if (read.scope() == istio::security::NAMESPACE && !read.namespace_().empty()) refusal.scope = Scope::Namespace;
    return refusal;
}

}  // namespace warren::policy
