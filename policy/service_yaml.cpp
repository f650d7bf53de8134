// SPDX-License-Identifier: Apache-2.0
#include "policy/parts_yaml.h"

namespace warren::policy {

using base::Result;

namespace {

Result<NetworkAddress> read_vip(Node node, TextPool& pool) {
    const std::string_view text = TRY(read_string(node));
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos)
        return node.refuse(base::quoted(text) + " has no '/'; write network/ip, /10.0.0.1 in the empty network");
    auto ip = base::IpAddr::parse(text.substr(slash + 1));
    if (!ip) return node.refuse(ip.error().detail);
    return NetworkAddress{pool.intern(text.substr(0, slash)), *ip};
}

Result<NetworkCidr> read_cidr_vip(Node node, TextPool& pool) {
    const Fields fields = TRY(Fields::of(node, {"network", "cidr"}));
    NetworkCidr to;
    TRY(read_text(fields, "network", pool, to.network));
    to.cidr = TRY(read_cidr(TRY(fields.need("cidr"))));
    return to;
}

Result<WeightedWaypoint> read_weighted(Node node, TextPool& pool) {
    const Fields fields = TRY(Fields::of(node, {"destination", "weight"}));
    WeightedWaypoint to;
    to.destination = TRY(read_gateway(TRY(fields.need("destination")), pool));
    to.weight = TRY(read_number(TRY(fields.need("weight")), UINT32_MAX));
    return to;
}

Result<LoadBalancing> read_load_balancer(Node node) {
    const Fields fields = TRY(Fields::of(node, {"routingPreferences", "mode", "healthPolicy"}));
    LoadBalancing to;
    auto scope = [](Node word) {
        return read_word<LbScope>(word, {{"Region", LbScope::Region},
                                         {"Zone", LbScope::Zone},
                                         {"Subzone", LbScope::Subzone},
                                         {"Node", LbScope::Node},
                                         {"Cluster", LbScope::Cluster},
                                         {"Network", LbScope::Network}});
    };
    to.routing_preference = Array<LbScope>(TRY(read_list<LbScope>(fields.get("routingPreferences"), scope)));
    TRY(read_word<LbMode>(fields, "mode",
                          {{"Standard", LbMode::Unspecified},
                           {"Strict", LbMode::Strict},
                           {"Failover", LbMode::Failover},
                           {"Passthrough", LbMode::Passthrough}},
                          to.mode));
    TRY(read_word<HealthPolicy>(fields, "healthPolicy", {{"OnlyHealthy", HealthPolicy::OnlyHealthy}, {"AllowAll", HealthPolicy::AllowAll}},
                                to.health_policy));
    return to;
}

Result<Array<ServicePort>> read_ports(Node node) {
    std::vector<ServicePort> ports;
    for (const PortPair& pair : TRY(read_port_map(node))) ports.push_back({pair.service_port, pair.target_port, AppProtocol::Unknown});
    return Array<ServicePort>(std::move(ports));
}

Result<Array<Identity>> read_identities(Node node) {
    auto identity = [](Node name) -> Result<Identity> {
        auto read = Identity::parse(TRY(read_string(name)));
        if (!read) return name.refuse(read.error().detail);
        return read;
    };
    return Array<Identity>(TRY(read_list<Identity>(node, identity)));
}

Result<void> read_endpoints(Node node, const Text& service, std::vector<StaticEndpoint>& endpoints) {
    if (!node) return {};
    for (const auto& [key, value] : TRY(read_entries(node))) {
        const Fields fields = TRY(Fields::of(value, {"workloadUid", "port", "status"}));
        StaticEndpoint to{key, key.text(), std::nullopt, {service, TRY(read_port_map(TRY(fields.need("port"))))}};
        if (const Node uid = fields.get("workloadUid"); uid && TRY(read_string(uid)) != key.text())
            return uid.refuse(base::quoted(uid.text()) + " is not the key " + base::quoted(key.text()) +
                              " of this endpoint; make them equal");
        if (const Node status = fields.get("status")) to.status = TRY(read_health(status));
        endpoints.push_back(std::move(to));
    }
    return {};
}

}  // namespace

Result<void> read_service(Node node, TextPool& pool, Service& to, std::vector<StaticEndpoint>& endpoints) {
    const Fields fields =
        TRY(Fields::of(node, {"name", "namespace", "hostname", "vips", "ports", "cidrVips", "endpoints", "subjectAltNames", "waypoint",
                              "weightedWaypoints", "loadBalancer", "ipFamilies", "canonical", "visibility"}));
    to.name = pool.intern(TRY(read_string(TRY(fields.need("name")))));
    const Node ns = TRY(fields.need("namespace"));
    to.ns = pool.intern(TRY(read_string(ns)));
    if (to.ns.view().find('/') != std::string_view::npos) return ns.refuse("contains '/'; remove it");
    to.hostname = pool.intern(TRY(read_string(TRY(fields.need("hostname")))));
    to.key = pool.intern(to.ns.str() + "/" + to.hostname.str());
    auto vip = [&](Node one) { return read_vip(one, pool); };
    auto cidr_vip = [&](Node one) { return read_cidr_vip(one, pool); };
    auto weighted = [&](Node one) { return read_weighted(one, pool); };
    to.vips = Array<NetworkAddress>(TRY(read_list<NetworkAddress>(TRY(fields.need("vips")), vip)));
    to.cidr_vips = Array<NetworkCidr>(TRY(read_list<NetworkCidr>(fields.get("cidrVips"), cidr_vip)));
    to.ports = TRY(read_ports(TRY(fields.need("ports"))));
    to.subject_alt_names = TRY(read_identities(fields.get("subjectAltNames")));
    if (const Node waypoint = fields.get("waypoint"))
        to.waypoint = std::make_unique<const GatewayAddress>(TRY(read_gateway(waypoint, pool)));
    to.weighted_waypoints = Array<WeightedWaypoint>(TRY(read_list<WeightedWaypoint>(fields.get("weightedWaypoints"), weighted)));
    if (const Node balancer = fields.get("loadBalancer")) to.load_balancing = TRY(read_load_balancer(balancer));
    TRY(read_word<IpFamilies>(fields, "ipFamilies",
                              {{"IPv4", IpFamilies::V4Only}, {"IPv6", IpFamilies::V6Only}, {"Dual", IpFamilies::Dual}}, to.ip_families));
    TRY(read_word<Visibility>(fields, "visibility", {{"Public", Visibility::Public}, {"Namespace", Visibility::Namespace}}, to.visibility));
    if (const Node canonical = fields.get("canonical")) to.canonical = TRY(read_bool(canonical));
    return read_endpoints(fields.get("endpoints"), to.key, endpoints);
}

}  // namespace warren::policy
