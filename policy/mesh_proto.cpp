// SPDX-License-Identifier: Apache-2.0
#include "policy/mesh_proto.h"

#include "policy/fields_proto.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <algorithm>

namespace warren::policy {

namespace pb = istio::workload;
using base::Result;

namespace {

// read_enum casts, so the numbers have to stay what the wire says.
static_assert(int{pb::HBONE} == int(TunnelProtocol::Hbone) && int{pb::HOST_NETWORK} == int(NetworkMode::HostNetwork));
static_assert(int{pb::UNHEALTHY} == int(Health::Unhealthy) && int{pb::DUAL} == int(IpFamilies::Dual) &&
              int{pb::TLS} == int(AppProtocol::Tls));
static_assert(int{pb::CRONJOB} == int(WorkloadType::CronJob) && int{pb::POD} == int(WorkloadType::Pod) &&
              int{pb::JOB} == int(WorkloadType::Job));
static_assert(int{pb::IPV4_ONLY} == int(IpFamilies::V4Only) && int{pb::IPV6_ONLY} == int(IpFamilies::V6Only));
static_assert(int{pb::ApplicationTunnel::PROXY} == int(AppTunnelProtocol::Proxy));
static_assert(int{pb::LoadBalancing::PASSTHROUGH} == int(LbMode::Passthrough) && int{pb::LoadBalancing::STRICT} == int(LbMode::Strict));
static_assert(int{pb::LoadBalancing::ALLOW_ALL} == int(HealthPolicy::AllowAll));
static_assert(int{pb::LoadBalancing::REGION} == int(LbScope::Region) + 1 && int{pb::LoadBalancing::NETWORK} == int(LbScope::Network) + 1);

Text intern_or(TextPool& pool, std::string_view text, std::string_view otherwise) { return pool.intern(text.empty() ? otherwise : text); }

// "namespace/hostname"; a namespace with a '/' would make a key that splits elsewhere.
Result<std::string> join_key(std::string_view ns, std::string_view hostname, const FieldPath& at) {
    if (ns.find('/') != std::string_view::npos) return at.refuse("namespace " + base::quoted(ns) + " contains '/'; remove it");
    std::string key;
    key.reserve(ns.size() + 1 + hostname.size());
    return std::move(key.append(ns).append("/").append(hostname));
}

Result<GatewayAddress> read_gateway(const pb::GatewayAddress& from, const FieldPath& at, TextPool& pool) {
    GatewayAddress to;
    to.hbone_mtls_port = TRY(read_port(from.hbone_mtls_port(), {&at, "hbone_mtls_port"}));
    switch (from.destination_case()) {
        case pb::GatewayAddress::kHostname: {
            const FieldPath field{&at, "hostname"};
            to.destination = pool.intern(TRY(join_key(from.hostname().namespace_(), from.hostname().hostname(), field)));
            return to;
        }
        case pb::GatewayAddress::kAddress: {
            const FieldPath address{&at, "address"};
            const base::IpAddr ip = TRY(read_ip(from.address().address(), {&address, "address"}));
            to.destination = NetworkAddress{pool.intern(from.address().network()), ip};
            return to;
        }
        case pb::GatewayAddress::DESTINATION_NOT_SET: break;
    }
    return at.refuse("no destination; set hostname or address");
}

Result<std::unique_ptr<const GatewayAddress>> read_gateway_ptr(const pb::GatewayAddress& from, std::string_view name, TextPool& pool) {
    return std::make_unique<const GatewayAddress>(TRY(read_gateway(from, FieldPath{nullptr, name}, pool)));
}

Result<PortPair> read_port_pair(const pb::Port& from, const FieldPath& at) {
    return PortPair{TRY(read_port(from.service_port(), {&at, "service_port"})), TRY(read_port(from.target_port(), {&at, "target_port"}))};
}

// A protobuf map has no order; sorted by key, equal messages become equal values.
Result<Array<WorkloadService>> read_memberships(const pb::Workload& from, RecordPool& pool) {
    std::vector<WorkloadService> out;
    out.reserve(from.services().size());
    for (const auto& [key, list] : from.services()) {
        const FieldPath at{nullptr, "services"};
        if (key.find('/') == std::string::npos) return at.refuse("key " + base::quoted(key) + " has no '/'; write namespace/hostname");
        auto ports = read_list<PortPair>(list.ports(), at, "ports", read_port_pair);
        if (!ports) return std::move(ports).error().with("services key " + base::quoted(key));
        out.push_back({pool.intern(key), Array<PortPair>(std::move(*ports))});
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.service < b.service; });
    return pool.share(Array<WorkloadService>(std::move(out)));
}

void fill_names(Workload& to, const pb::Workload& from, TextPool& pool) {
    to.uid = Text(from.uid());
    to.name = Text(from.name());
    to.ns = pool.intern(from.namespace_());
    to.service_account = intern_or(pool, from.service_account(), "default");
    to.trust_domain = intern_or(pool, from.trust_domain(), "cluster.local");
    to.network = pool.intern(from.network());
    to.node = pool.intern(from.node());
    to.cluster_id = intern_or(pool, from.cluster_id(), "Kubernetes");
    to.canonical_name = pool.intern(from.canonical_name());
    to.canonical_revision = pool.intern(from.canonical_revision());
    to.workload_name = pool.intern(from.workload_name());
    to.hostname = pool.intern(from.hostname());
    if (from.has_locality())
        to.locality = {pool.intern(from.locality().region()), pool.intern(from.locality().zone()), pool.intern(from.locality().subzone())};
}

Result<TunnelProtocol> read_tunnel(int value) {
    const FieldPath at{nullptr, "tunnel_protocol"};
    if (value == pb::LEGACY_ISTIO_MTLS) return at.refuse("LEGACY_ISTIO_MTLS is not supported; give NONE or HBONE");
    return read_enum(value, TunnelProtocol::Hbone, at);
}

Result<void> fill(Workload& to, const pb::Workload& from, RecordPool& pool) {
    const FieldPath top;
    if (from.uid().empty()) return FieldPath{nullptr, "uid"}.refuse("empty; a workload is known by its uid");
    fill_names(to, from, pool);
    to.addresses = Array<base::IpAddr>(TRY(read_list<base::IpAddr>(from.addresses(), top, "addresses", read_ip)));
    to.services = TRY(read_memberships(from, pool));
    auto intern = [&](const std::string& text, const FieldPath&) -> Result<Text> { return pool.intern(text); };
    to.authorization_policies = Array<Text>(TRY(read_list<Text>(from.authorization_policies(), top, "authorization_policies", intern)));
    if (from.has_waypoint()) to.waypoint = TRY(read_gateway_ptr(from.waypoint(), "waypoint", pool));
    if (from.has_network_gateway()) to.network_gateway = TRY(read_gateway_ptr(from.network_gateway(), "network_gateway", pool));
    if (from.has_application_tunnel()) {
        const FieldPath at{nullptr, "application_tunnel"};
        const pb::ApplicationTunnel& tunnel = from.application_tunnel();
        const auto protocol = TRY(read_enum(tunnel.protocol(), AppTunnelProtocol::Proxy, {&at, "protocol"}));
        const uint16_t port = TRY(read_port(tunnel.port(), {&at, "port"}));
        to.application_tunnel = std::make_unique<const ApplicationTunnel>(ApplicationTunnel{protocol, port});
    }
    if (from.has_capacity()) to.capacity = from.capacity().value();
    to.tunnel_protocol = TRY(read_tunnel(from.tunnel_protocol()));
    to.network_mode = TRY(read_enum(from.network_mode(), NetworkMode::HostNetwork, {nullptr, "network_mode"}));
    to.status = TRY(read_enum(from.status(), Health::Unhealthy, {nullptr, "status"}));
    to.type = pb::WorkloadType_IsValid(from.workload_type()) ? static_cast<WorkloadType>(from.workload_type()) : WorkloadType::Deployment;
    to.native_tunnel = from.native_tunnel();
    return {};
}

// Absent, or the family's maximum: one host. Anything else is a prefix.
Result<void> read_vip(const pb::NetworkAddress& from, const FieldPath& at,
                      std::pair<std::vector<NetworkAddress>&, std::vector<NetworkCidr>&> to, TextPool& pool) {
    const base::IpAddr ip = TRY(read_ip(from.address(), {&at, "address"}));
    if (from.has_length()) {
        const base::Cidr cidr = TRY(read_cidr(from.address(), from.length(), {&at, "length"}));
        if (cidr.length() != ip.bits()) {
            to.second.push_back({pool.intern(from.network()), cidr});
            return {};
        }
    }
    to.first.push_back({pool.intern(from.network()), ip});
    return {};
}

Result<LoadBalancing> read_load_balancing(const pb::LoadBalancing& from) {
    const FieldPath at{nullptr, "load_balancing"};
    LoadBalancing to;
    auto scope = [](int value, const FieldPath& field) -> Result<LbScope> {
        if (value == pb::LoadBalancing::UNSPECIFIED_SCOPE) return field.refuse("UNSPECIFIED_SCOPE; name a scope or remove the entry");
        if (!pb::LoadBalancing::Scope_IsValid(value))
            return field.refuse("unknown value " + std::to_string(value) + "; give a number from 1 to 6");
        return static_cast<LbScope>(value - 1);
    };
    to.routing_preference = Array<LbScope>(TRY(read_list<LbScope>(from.routing_preference(), at, "routing_preference", scope)));
    to.mode = TRY(read_enum(from.mode(), LbMode::Passthrough, {&at, "mode"}));
    to.health_policy = TRY(read_enum(from.health_policy(), HealthPolicy::AllowAll, {&at, "health_policy"}));
    return to;
}

Result<void> fill_addresses(Service& to, const pb::Service& from, TextPool& pool) {
    std::vector<NetworkAddress> vips;
    std::vector<NetworkCidr> cidr_vips;
    size_t index = 0;
    for (const pb::NetworkAddress& address : from.addresses())
        TRY(read_vip(address, FieldPath{nullptr, "addresses", index++}, {vips, cidr_vips}, pool));
    to.vips = Array<NetworkAddress>(std::move(vips));
    to.cidr_vips = Array<NetworkCidr>(std::move(cidr_vips));
    return {};
}

Result<void> fill_waypoints(Service& to, const pb::Service& from, TextPool& pool) {
    if (from.has_waypoint()) to.waypoint = TRY(read_gateway_ptr(from.waypoint(), "waypoint", pool));
    auto weighted = [&](const pb::WeightedWaypoint& entry, const FieldPath& at) -> Result<WeightedWaypoint> {
        if (!entry.has_destination()) return at.refuse("no destination; set one or remove the entry");
        return WeightedWaypoint{TRY(read_gateway(entry.destination(), FieldPath{&at, "destination"}, pool)), entry.weight()};
    };
    to.weighted_waypoints =
        Array<WeightedWaypoint>(TRY(read_list<WeightedWaypoint>(from.weighted_waypoints(), FieldPath(), "weighted_waypoints", weighted)));
    return {};
}

Result<void> fill(Service& to, const pb::Service& from, TextPool& pool) {
    to.key = pool.intern(TRY(join_key(from.namespace_(), from.hostname(), {nullptr, "namespace"})));
    to.name = pool.intern(from.name());
    to.ns = pool.intern(from.namespace_());
    to.hostname = pool.intern(from.hostname());
    TRY(fill_addresses(to, from, pool));
    auto port = [](const pb::Port& entry, const FieldPath& at) -> Result<ServicePort> {
        const PortPair pair = TRY(read_port_pair(entry, at));
        const int protocol = entry.app_protocol();  // not used, so an unknown one is no reason to refuse
        return ServicePort{pair.service_port, pair.target_port,
                           pb::AppProtocol_IsValid(protocol) ? static_cast<AppProtocol>(protocol) : AppProtocol::Unknown};
    };
    to.ports = Array<ServicePort>(TRY(read_list<ServicePort>(from.ports(), FieldPath(), "ports", port)));
    std::vector<Identity> names;
    for (const std::string& name : from.subject_alt_names())
        if (auto identity = Identity::parse(name)) names.push_back(std::move(*identity));
    to.subject_alt_names = Array<Identity>(std::move(names));
    TRY(fill_waypoints(to, from, pool));
    if (from.has_load_balancing()) to.load_balancing = TRY(read_load_balancing(from.load_balancing()));
    to.ip_families = TRY(read_enum(from.ip_families(), IpFamilies::Dual, {nullptr, "ip_families"}));
    to.visibility = from.visibility() == pb::Service::NAMESPACE ? Visibility::Namespace : Visibility::Public;
    to.canonical = from.canonical();
    to.ingress_use_waypoint = from.ingress_use_waypoint();
    return {};
}

}  // namespace

Result<WorkloadRef> workload_from_proto(const pb::Workload& from, RecordPool& pool) {
    const auto to = make_ref<Workload>();
    if (auto done = fill(*to, from, pool); !done) return std::move(done).error().with("workload " + base::quoted(from.uid()));
    return WorkloadRef(to);
}

Result<ServiceRef> service_from_proto(const pb::Service& from, TextPool& pool) {
    const auto to = make_ref<Service>();
    if (auto done = fill(*to, from, pool); !done)
        return std::move(done).error().with("service " + base::quoted(from.namespace_() + "/" + from.hostname()));
    return ServiceRef(to);
}

}  // namespace warren::policy
