// SPDX-License-Identifier: Apache-2.0
#include "policy/parts_yaml.h"

#include <algorithm>

namespace warren::policy {

using base::Result;

Result<Health> read_health(Node node) { return read_word<Health>(node, {{"Healthy", Health::Healthy}, {"Unhealthy", Health::Unhealthy}}); }

Result<Array<PortPair>> read_port_map(Node node) {
    std::vector<PortPair> ports;
    for (const auto& [key, value] : TRY(read_entries(node))) ports.push_back({TRY(read_port(key)), TRY(read_port(value))});
    return Array<PortPair>(std::move(ports));
}

// "network/ip" where an address follows the first '/', else "namespace/hostname".
Result<GatewayAddress> read_gateway(Node node, TextPool& pool) {
    const Fields fields = TRY(Fields::of(node, {"destination", "hboneMtlsPort"}));
    const Node destination = TRY(fields.need("destination"));
    const std::string_view text = TRY(read_string(destination));
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos)
        return destination.refuse(base::quoted(text) +
                                  " has no '/'; write network/ip (/10.0.0.1 in the empty network) or namespace/hostname");
    GatewayAddress to;
    if (const auto ip = base::IpAddr::parse(text.substr(slash + 1)))
        to.destination = NetworkAddress{pool.intern(text.substr(0, slash)), *ip};
    else
        to.destination = pool.intern(text);
    to.hbone_mtls_port = TRY(read_port(TRY(fields.need("hboneMtlsPort"))));
    return to;
}

namespace {

Result<void> read_names(const Fields& fields, TextPool& pool, Workload& to) {
    const std::pair<const char*, Text*> texts[] = {
        {"name", &to.name},
        {"namespace", &to.ns},
        {"serviceAccount", &to.service_account},
        {"trustDomain", &to.trust_domain},
        {"network", &to.network},
        {"node", &to.node},
        {"clusterId", &to.cluster_id},
        {"canonicalName", &to.canonical_name},
        {"canonicalRevision", &to.canonical_revision},
        {"workloadName", &to.workload_name},
        {"hostname", &to.hostname},
    };
    TRY(fields.need("namespace"));
    for (const auto& [key, text] : texts) TRY(read_text(fields, key, pool, *text));
    if (const Node uid = fields.get("uid")) to.uid = Text(TRY(read_string(uid)));
    if (const Node node = fields.get("locality")) {
        const Fields locality = TRY(Fields::of(node, {"region", "zone", "subzone"}));
        TRY(read_text(locality, "region", pool, to.locality.region));
        TRY(read_text(locality, "zone", pool, to.locality.zone));
        TRY(read_text(locality, "subzone", pool, to.locality.subzone));
    }
    return {};
}

Result<void> read_memberships(Node node, TextPool& pool, Workload& to) {
    std::vector<WorkloadService> services;
    for (const auto& [key, ports] : TRY(read_entries(node))) {
        if (key.text().find('/') == std::string_view::npos)
            return key.refuse(base::quoted(key.text()) + " has no '/'; write namespace/hostname");
        services.push_back({pool.intern(key.text()), TRY(read_port_map(ports))});
    }
    to.services = Array<WorkloadService>(std::move(services));
    return {};
}

Result<void> read_gateways(const Fields& fields, TextPool& pool, Workload& to) {
    if (const Node node = fields.get("waypoint")) to.waypoint = std::make_unique<const GatewayAddress>(TRY(read_gateway(node, pool)));
    if (const Node node = fields.get("networkGateway"))
        to.network_gateway = std::make_unique<const GatewayAddress>(TRY(read_gateway(node, pool)));
    if (const Node node = fields.get("applicationTunnel")) {
        const Fields tunnel = TRY(Fields::of(node, {"protocol", "port"}));
        ApplicationTunnel out;
        out.protocol = TRY(read_word<AppTunnelProtocol>(TRY(tunnel.need("protocol")),
                                                        {{"NONE", AppTunnelProtocol::None}, {"PROXY", AppTunnelProtocol::Proxy}}));
        if (const Node port = tunnel.get("port")) out.port = TRY(read_port(port));
        to.application_tunnel = std::make_unique<const ApplicationTunnel>(out);
    }
    return {};
}

}  // namespace

Result<void> read_workload(Node node, TextPool& pool, Workload& to) {
    const Fields fields = TRY(Fields::of(
        node, {"uid",         "name",           "namespace",         "serviceAccount",    "trustDomain",  "workloadIps",
               "protocol",    "node",           "network",           "services",          "status",       "authorizationPolicies",
               "waypoint",    "networkGateway", "applicationTunnel", "networkMode",       "capacity",     "locality",
               "hostname",    "clusterId",      "canonicalName",     "canonicalRevision", "workloadName", "workloadType",
               "nativeTunnel"}));
    TRY(read_names(fields, pool, to));
    to.addresses = Array<base::IpAddr>(TRY(read_list<base::IpAddr>(TRY(fields.need("workloadIps")), [](Node ip) { return read_ip(ip); })));
    TRY(read_memberships(TRY(fields.need("services")), pool, to));
    auto policy = [&](Node name) -> Result<Text> { return pool.intern(TRY(read_string(name))); };
    to.authorization_policies = Array<Text>(TRY(read_list<Text>(fields.get("authorizationPolicies"), policy)));
    TRY(read_gateways(fields, pool, to));
    TRY(read_word<TunnelProtocol>(fields, "protocol", {{"TCP", TunnelProtocol::None}, {"HBONE", TunnelProtocol::Hbone}},
                                  to.tunnel_protocol));
    TRY(read_word<NetworkMode>(fields, "networkMode", {{"Standard", NetworkMode::Standard}, {"HostNetwork", NetworkMode::HostNetwork}},
                               to.network_mode));
    // The dump writes these in lower case.
    TRY(read_word<WorkloadType>(fields, "workloadType",
                                {{"deployment", WorkloadType::Deployment},
                                 {"cronjob", WorkloadType::CronJob},
                                 {"pod", WorkloadType::Pod},
                                 {"job", WorkloadType::Job}},
                                to.type));
    if (const Node status = fields.get("status")) to.status = TRY(read_health(status));
    if (const Node capacity = fields.get("capacity")) to.capacity = TRY(read_number(capacity, UINT32_MAX));
    if (const Node native = fields.get("nativeTunnel")) to.native_tunnel = TRY(read_bool(native));
    return {};
}

}  // namespace warren::policy
