// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dump_mesh.h"

#include <string>
#include <string_view>

namespace warren::ztunnel {
namespace {

using nlohmann::json;
using namespace policy;

std::string_view name_of(TunnelProtocol p) { return p == TunnelProtocol::Hbone ? "HBONE" : "TCP"; }
std::string_view name_of(NetworkMode m) { return m == NetworkMode::HostNetwork ? "HostNetwork" : "Standard"; }
std::string_view name_of(Health h) { return h == Health::Healthy ? "Healthy" : "Unhealthy"; }
std::string_view name_of(AppTunnelProtocol p) { return p == AppTunnelProtocol::Proxy ? "PROXY" : "NONE"; }
std::string_view name_of(PolicyAction a) { return a == PolicyAction::Allow ? "Allow" : "Deny"; }
std::string_view name_of(Visibility v) { return v == Visibility::Public ? "Public" : "Namespace"; }
std::string_view name_of(HealthPolicy p) { return p == HealthPolicy::AllowAll ? "AllowAll" : "OnlyHealthy"; }

std::string_view name_of(WorkloadType t) {
    switch (t) {
        case WorkloadType::Deployment: return "deployment";
        case WorkloadType::CronJob: return "cronjob";
        case WorkloadType::Pod: return "pod";
        case WorkloadType::Job: return "job";
    }
    return "";
}
std::string_view name_of(Scope s) {
    switch (s) {
        case Scope::Global: return "Global";
        case Scope::Namespace: return "Namespace";
        case Scope::WorkloadSelector: return "WorkloadSelector";
    }
    return "";
}
std::string_view name_of(LbScope s) {
    switch (s) {
        case LbScope::Region: return "Region";
        case LbScope::Zone: return "Zone";
        case LbScope::Subzone: return "Subzone";
        case LbScope::Node: return "Node";
        case LbScope::Cluster: return "Cluster";
        case LbScope::Network: return "Network";
    }
    return "";
}
std::string_view name_of(LbMode m) {
    switch (m) {
        case LbMode::Unspecified: return "Standard";
        case LbMode::Strict: return "Strict";
        case LbMode::Failover: return "Failover";
        case LbMode::Passthrough: return "Passthrough";
    }
    return "";
}

void put_text(json& to, const char* key, const Text& value) {
    if (!value.empty()) to[key] = value.view();
}

json gateway_json(const GatewayAddress& gateway) {
    const auto* address = std::get_if<NetworkAddress>(&gateway.destination);
    return {{"destination", address != nullptr ? address->to_string() : std::get<Text>(gateway.destination).str()},
            {"hboneMtlsPort", gateway.hbone_mtls_port}};
}

json ports_json(std::span<const PortPair> ports) {
    json out = json::object();
    for (const PortPair& p : ports) out[std::to_string(p.service_port)] = p.target_port;
    return out;
}

json match_json(const StringMatch& m) {
    switch (m.kind) {
        case StringMatch::Kind::Exact: return {{"Exact", m.value.view()}};
        case StringMatch::Kind::Prefix: return {{"Prefix", m.value.view()}};
        case StringMatch::Kind::Suffix: return {{"Suffix", m.value.view()}};
        case StringMatch::Kind::Presence: break;
    }
    return {{"Presence", json::array()}};
}
json match_json(const ServiceAccountMatch& m) { return {{"namespace", m.ns.view()}, {"serviceAccount", m.service_account.view()}}; }
json match_json(const base::Cidr& m) { return m.to_string(); }
json match_json(uint16_t m) { return m; }

template <class T>
void put_lists(json& to, const char* positive, const char* negative, const Lists<T>& lists) {
    for (const auto& [key, list] : {std::pair{positive, &lists.any_of}, std::pair{negative, &lists.none_of}}) {
        if (list->empty()) continue;
        json& out = to[key] = json::array();
        for (const T& m : *list) out.push_back(match_json(m));
    }
}

json rule_match_json(const Match& m) {
    json out = json::object();
    put_lists(out, "namespaces", "notNamespaces", m.namespaces);
    put_lists(out, "principals", "notPrincipals", m.principals);
    put_lists(out, "serviceAccounts", "notServiceAccounts", m.service_accounts);
    put_lists(out, "sourceIps", "notSourceIps", m.source_ips);
    put_lists(out, "destinationIps", "notDestinationIps", m.destination_ips);
    put_lists(out, "destinationPorts", "notDestinationPorts", m.destination_ports);
    return out;
}

}  // namespace

json workload_json(const Workload& w) {
    json out = {{"workloadIps", json::array()},
                {"protocol", name_of(w.tunnel_protocol)},
                {"networkMode", name_of(w.network_mode)},
                {"name", w.name.view()},
                {"namespace", w.ns.view()},
                {"status", name_of(w.status)},
                {"clusterId", w.cluster_id.view()},
                {"capacity", w.capacity},
                {"workloadType", name_of(w.type)}};
    for (const base::IpAddr& ip : w.addresses) out["workloadIps"].push_back(ip.to_string());
    put_text(out, "uid", w.uid);
    put_text(out, "trustDomain", w.trust_domain);
    put_text(out, "serviceAccount", w.service_account);
    put_text(out, "network", w.network);
    put_text(out, "workloadName", w.workload_name);
    put_text(out, "canonicalName", w.canonical_name);
    put_text(out, "canonicalRevision", w.canonical_revision);
    put_text(out, "hostname", w.hostname);
    put_text(out, "node", w.node);
    if (w.waypoint) out["waypoint"] = gateway_json(*w.waypoint);
    if (w.network_gateway) out["networkGateway"] = gateway_json(*w.network_gateway);
    if (w.native_tunnel) out["nativeTunnel"] = true;
    if (w.application_tunnel) {
        json& tunnel = out["applicationTunnel"] = {{"protocol", name_of(w.application_tunnel->protocol)}};
        if (w.application_tunnel->port != 0) tunnel["port"] = w.application_tunnel->port;
    }
    for (const Text& name : w.authorization_policies) out["authorizationPolicies"].push_back(name.view());
    for (const WorkloadService& s : w.services) out["services"].push_back(s.service.view());
    if (w.locality != Locality{})
        out["locality"] = {{"region", w.locality.region.view()}, {"zone", w.locality.zone.view()}, {"subzone", w.locality.subzone.view()}};
    return out;
}

json endpoints_json(const ServiceEntry& entry) {
    json out = json::object();
    entry.endpoints.for_each([&](const Text& uid, const Endpoint& e) {
        out[uid.str()] = {{"workloadUid", uid.view()},
                          {"port", e.ports != nullptr ? ports_json(e.ports->span()) : json::object()},
                          {"status", name_of(e.workload ? e.workload->status : Health::Healthy)}};
    });
    return out;
}

json service_json(const ServiceEntry& entry) {
    const Service& s = *entry.service;
    json out = {{"name", s.name.view()},
                {"namespace", s.ns.view()},
                {"hostname", s.hostname.view()},
                {"vips", json::array()},
                {"ports", json::object()},
                {"endpoints", endpoints_json(entry)},
                {"subjectAltNames", json::array()},
                {"canonical", s.canonical},
                {"visibility", name_of(s.visibility)}};
    for (const NetworkAddress& vip : s.vips) out["vips"].push_back(vip.to_string());
    for (const ServicePort& p : s.ports) out["ports"][std::to_string(p.service_port)] = p.target_port;
    for (const Identity& id : s.subject_alt_names) out["subjectAltNames"].push_back(id.uri());
    for (const NetworkCidr& c : s.cidr_vips) out["cidrVips"].push_back({{"network", c.network.view()}, {"cidr", c.cidr.to_string()}});
    if (s.waypoint) out["waypoint"] = gateway_json(*s.waypoint);
    for (const WeightedWaypoint& w : s.weighted_waypoints)
        out["weightedWaypoints"].push_back({{"destination", gateway_json(w.destination)}, {"weight", w.weight}});
    if (s.load_balancing) {
        json& lb = out["loadBalancer"] = {{"routingPreferences", json::array()},
                                          {"mode", name_of(s.load_balancing->mode)},
                                          {"healthPolicy", name_of(s.load_balancing->health_policy)}};
        for (const LbScope scope : s.load_balancing->routing_preference) lb["routingPreferences"].push_back(name_of(scope));
    }
    if (s.ip_families != IpFamilies::Automatic)
        out["ipFamilies"] = s.ip_families == IpFamilies::V4Only ? "IPv4" : s.ip_families == IpFamilies::V6Only ? "IPv6" : "Dual";
    return out;
}

json policy_json(const Policy& p) {
    json out = {{"name", p.name().view()},       {"namespace", p.ns().view()}, {"scope", name_of(p.scope())},
                {"action", name_of(p.action())}, {"dryRun", p.dry_run()},      {"rules", json::array()}};
    for (const Rule& rule : p.spec().rules) {
        json clauses = json::array();
        for (const Clause& clause : rule) {
            json matches = json::array();
            for (const Match& m : clause) matches.push_back(rule_match_json(m));
            clauses.push_back(std::move(matches));
        }
        out["rules"].push_back(std::move(clauses));
    }
    if (p.refused()) out["refusedBecause"] = p.refused_because();
    return out;
}

}  // namespace warren::ztunnel
