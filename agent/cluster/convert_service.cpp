// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert_service.h"

#include "agent/cluster/app_protocol.h"
#include "agent/cluster/keys.h"
#include "agent/cluster/proto_address.h"

#include <strings.h>

#include <algorithm>
#include <set>

namespace warren::cluster {

namespace {

using istio::workload::LoadBalancing;
using istio::workload::Service;

enum class Distribution : uint8_t { Any, Zone, Node };

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the size is beside it
    return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// An annotation that is there ends the search, whatever it says.
Distribution annotated_distribution(const ObjectMeta& object, const Waypoints::NamespaceMap& namespaces) {
    std::string_view text = label(object.annotations, keys::kTrafficDistribution);
    if (!has_label(object.annotations, keys::kTrafficDistribution)) {
        const auto ns = namespaces.find(object.ns);
        if (ns != namespaces.end()) text = label(ns->second->meta.annotations, keys::kTrafficDistribution);
    }
    if (equals_ignoring_case(text, "PreferSameZone") || equals_ignoring_case(text, "PreferClose")) return Distribution::Zone;
    return equals_ignoring_case(text, "PreferSameNode") ? Distribution::Node : Distribution::Any;
}

void prefer(Distribution distribution, Service& to) {
    if (distribution == Distribution::Any) return;
    LoadBalancing& lb = *to.mutable_load_balancing();
    lb.set_mode(LoadBalancing::FAILOVER);
    for (const auto scope : {LoadBalancing::NETWORK, LoadBalancing::REGION, LoadBalancing::ZONE}) lb.add_routing_preference(scope);
    if (distribution == Distribution::Node)
        for (const auto scope : {LoadBalancing::SUBZONE, LoadBalancing::NODE}) lb.add_routing_preference(scope);
}

void balance(const KubeService& service, const ServiceContext& context, Service& to) {
    if (service.internal_local) {
        to.mutable_load_balancing()->set_mode(LoadBalancing::STRICT);
        to.mutable_load_balancing()->add_routing_preference(LoadBalancing::NODE);
    } else if (service.traffic_distribution == "PreferSameZone" || service.traffic_distribution == "PreferClose") {
        prefer(Distribution::Zone, to);
    } else if (service.traffic_distribution == "PreferSameNode") {
        prefer(Distribution::Node, to);
    } else {
        prefer(annotated_distribution(service.meta, context.namespaces), to);
    }
    if (service.publish_not_ready) to.mutable_load_balancing()->set_health_policy(LoadBalancing::ALLOW_ALL);
}

void bind(const Waypoints::ServiceBinding& binding, Service& to) {
    if (binding.primary == nullptr) return;
    *to.mutable_waypoint() = binding.primary->address;
    to.set_ingress_use_waypoint(binding.ingress);
    if (binding.canary == nullptr) return;
    auto* primary = to.add_weighted_waypoints();
    *primary->mutable_destination() = binding.primary->address;
    primary->set_weight(100 - binding.canary_percent);
    auto* canary = to.add_weighted_waypoints();
    *canary->mutable_destination() = binding.canary->address;
    canary->set_weight(binding.canary_percent);
}

istio::workload::IPFamilies families(const KubeService& service) {
    if (service.ip_families.size() == 2) return istio::workload::DUAL;
    if (service.ip_families.size() != 1) return istio::workload::AUTOMATIC;
    return service.ip_families.front() == "IPv4" ? istio::workload::IPV4_ONLY : istio::workload::IPV6_ONLY;
}

bool is_wildcard(std::string_view host) { return host.starts_with('*'); }

void add_entry_addresses(const ServiceEntry& entry, const std::string& host, const std::string& network, Service& to) {
    for (const EntryAddress& address : entry.addresses) {
        auto* added = to.add_addresses();
        set_address(*added, network, address.ip);
        if (address.length) added->set_length(*address.length);
    }
    if (!allocates_address(entry, host)) return;
    for (const auto& [of, ip] : entry.allocated)
        if (of == host) set_address(*to.add_addresses(), network, ip);
}

// What only a waypoint can do for the entry (contract 1.1, 2.9, 6.1), which passes none.
void tell_waypoint_missing(const ServiceEntry& entry, Diagnostics& problems) {
    const auto wildcard = std::find_if(entry.hosts.begin(), entry.hosts.end(), is_wildcard);
    if (entry.resolution == Resolution::DynamicDns && wildcard != entry.hosts.end())
        problems.tell({ConditionType::WaypointMissing, true, "NoWaypointForWildcardService",
                       "only a waypoint resolves the names of " + *wildcard + ": bind one with label istio.io/use-waypoint"});
    else if (label(entry.meta.annotations, keys::kConnectStrategy) == "RACE_FIRST_TCP_CONNECT")
        problems.tell({ConditionType::WaypointMissing, true, "NoWaypointForRacingConnectStrategy",
                       "only a waypoint races connections (annotation istio.io/connect-strategy): bind one with label "
                       "istio.io/use-waypoint"});
}

}  // namespace

const ServiceInfo::PortNames* ServiceInfo::names_of(uint32_t service_port) const {
    const auto found = std::find_if(ports.rbegin(), ports.rend(), [&](const PortNames& p) { return p.service_port == service_port; });
    return found == ports.rend() ? nullptr : &*found;
}

bool ServiceInfo::before(const ServiceInfo& o) const {
    if (from_service != o.from_service) return from_service;
    if (created_ns != o.created_ns) return created_ns < o.created_ns;
    return sent.namespace_() != o.sent.namespace_() ? sent.namespace_() < o.sent.namespace_() : sent.name() < o.sent.name();
}

bool ServiceInfo::same_to_members(const ServiceInfo& o) const {
    const auto same_port = [](const istio::workload::Port& a, const istio::workload::Port& b) {
        return a.service_port() == b.service_port() && a.target_port() == b.target_port();
    };
    return from_service == o.from_service && ports == o.ports && selector == o.selector &&
           std::equal(sent.ports().begin(), sent.ports().end(), o.sent.ports().begin(), o.sent.ports().end(), same_port);
}

bool ServiceInfo::same_as(const ServiceInfo& o) const {
    return created_ns == o.created_ns && same_to_members(o) && sent.SerializeAsString() == o.sent.SerializeAsString();
}

std::string service_hostname(std::string_view name, std::string_view ns, const Settings& settings) {
    return std::string(name).append(1, '.').append(ns).append(".svc.").append(settings.cluster_domain);
}

bool allocates_address(const ServiceEntry& entry, std::string_view host) {
    return entry.addresses.empty() && entry.resolution != Resolution::None && label(entry.meta.labels, keys::kAllocateAddress) != "false" &&
           (!is_wildcard(host) || entry.resolution == Resolution::DynamicDns);
}

ServiceInfo convert_service(const KubeService& service, const ServiceContext& context) {
    ServiceInfo out;
    out.from_service = true;
    out.created_ns = service.meta.created_ns;
    out.selector = service.selector;
    Service& sent = out.sent;
    sent.set_name(service.meta.name);
    sent.set_namespace_(service.meta.ns);
    sent.set_hostname(service_hostname(service.meta.name, service.meta.ns, context.settings));
    sent.set_canonical(true);
    sent.set_ip_families(families(service));
    for (const base::IpAddr& ip : service.cluster_ips) set_address(*sent.add_addresses(), context.network, ip);
    for (const ServicePort& port : service.ports) {
        auto* added = sent.add_ports();
        added->set_service_port(port.port);
        added->set_target_port(port.target);
        added->set_app_protocol(app_protocol(port));
        out.ports.push_back({port.port, port.name, port.target_name, true});
    }
    balance(service, context, sent);
    bind(context.waypoints.of_service(service.meta, "Service", false, context.problems), sent);
    return out;
}

std::vector<ServiceInfo> convert_service_entry(const ServiceEntry& entry, const ServiceContext& context) {
    std::vector<ServiceInfo> out;
    if (context.settings.service_entries == Settings::Visibility::None) return out;
    const bool own_namespace_only = context.settings.service_entries == Settings::Visibility::Namespace;
    const auto binding = context.waypoints.of_service(entry.meta, "ServiceEntry", own_namespace_only, context.problems);
    if (binding.primary == nullptr) tell_waypoint_missing(entry, context.problems);
    std::set<std::string_view> hosts;
    for (const std::string& host : entry.hosts) {
        if (!hosts.insert(host).second) continue;
        ServiceInfo info;
        info.created_ns = entry.meta.created_ns;
        info.selector = entry.workload_selector;
        Service& sent = info.sent;
        sent.set_name(entry.meta.name);
        sent.set_namespace_(entry.meta.ns);
        sent.set_hostname(host);
        if (own_namespace_only) sent.set_visibility(Service::NAMESPACE);
        for (const std::string& name : entry.subject_alt_names) sent.add_subject_alt_names(name);
        add_entry_addresses(entry, host, context.network, sent);
        for (const EntryPort& port : entry.ports) {
            auto* added = sent.add_ports();
            added->set_service_port(port.number);
            added->set_target_port(port.target != 0 ? port.target : port.number);
            added->set_app_protocol(app_protocol_of_word(port.protocol));
            info.ports.push_back({port.number, port.name, "", port.target != 0});
        }
        if (entry.resolution == Resolution::None) {
            sent.mutable_load_balancing()->set_mode(LoadBalancing::PASSTHROUGH);
            sent.mutable_load_balancing()->set_health_policy(LoadBalancing::ALLOW_ALL);
        } else {
            prefer(annotated_distribution(entry.meta, context.namespaces), sent);
        }
        bind(binding, sent);
        out.push_back(std::move(info));
    }
    return out;
}

}  // namespace warren::cluster
