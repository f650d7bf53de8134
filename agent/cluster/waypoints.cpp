// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/waypoints.h"

#include "agent/cluster/keys.h"
#include "agent/cluster/proto_address.h"
#include "base/bytes.h"

#include <algorithm>
#include <charconv>

namespace warren::cluster {

namespace {

using istio::workload::ApplicationTunnel;

constexpr uint16_t kHbonePort = 15008;

// "PROXY", "PROXY/15088", "NONE"; anything else is no binding.
std::optional<ApplicationTunnel> inbound_binding(const ObjectMeta& gateway, const ObjectMeta* gateway_class) {
    const bool own = has_label(gateway.annotations, keys::kInboundBinding);
    if (!own && gateway_class == nullptr) return std::nullopt;
    std::string_view text = label(own ? gateway.annotations : gateway_class->annotations, keys::kInboundBinding);
    ApplicationTunnel out;
    if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
        uint16_t port = 0;
        const std::string_view digits = text.substr(slash + 1);
        const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (failed != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
        out.set_port(port);
        text = text.substr(0, slash);
    }
    if (text == "PROXY") out.set_protocol(ApplicationTunnel::PROXY);
    if (text != "PROXY" && text != "NONE") return std::nullopt;
    return out;
}

// The listener whose allowedRoutes count: the one the binding hands connections to, else the HBONE one.
const Listener* attachment_listener(const Gateway& gateway, const std::optional<ApplicationTunnel>& binding) {
    const auto first = [&](auto fits) -> const Listener* {
        const auto found = std::find_if(gateway.listeners.begin(), gateway.listeners.end(), fits);
        return found == gateway.listeners.end() ? nullptr : &*found;
    };
    const Listener* bound = nullptr;
    if (binding && binding->port() != 0)
        bound = first([&](const Listener& l) { return l.port == binding->port(); });
    else if (binding && binding->protocol() == ApplicationTunnel::PROXY)
        bound = first([](const Listener& l) { return l.protocol == "istio.io/PROXY"; });
    return bound != nullptr ? bound : first([](const Listener& l) { return l.protocol == "HBONE" && l.port == kHbonePort; });
}

// A hostname if there is one: addresses get other owners. False: nothing to send traffic to.
bool fill_address(const Gateway& gateway, const std::string& network, istio::workload::GatewayAddress& to) {
    to.set_hbone_mtls_port(kHbonePort);
    for (const GatewayAddress& address : gateway.status_addresses) {
        if (!address.is_hostname || address.value.empty()) continue;
        to.mutable_hostname()->set_namespace_(gateway.meta.ns);
        to.mutable_hostname()->set_hostname(address.value);
        return true;
    }
    for (const GatewayAddress& address : gateway.status_addresses) {
        const auto ip = base::IpAddr::parse(address.value);
        if (address.is_hostname || !ip) continue;
        set_address(*to.mutable_address(), network, *ip);
        return true;
    }
    return false;
}

Waypoint make_waypoint(const Gateway& gateway, const ObjectMeta* gateway_class) {
    Waypoint out;
    out.ns = gateway.meta.ns;
    out.name = gateway.meta.name;
    std::string_view serves = "service";
    if (gateway_class != nullptr && has_label(gateway_class->labels, keys::kWaypointFor))
        serves = label(gateway_class->labels, keys::kWaypointFor);
    if (has_label(gateway.meta.labels, keys::kWaypointFor)) serves = label(gateway.meta.labels, keys::kWaypointFor);
    out.for_services = serves == "service" || serves == "all";
    out.for_workloads = serves == "workload" || serves == "all";
    out.tunnel = inbound_binding(gateway.meta, gateway_class);
    if (const Listener* listener = attachment_listener(gateway, out.tunnel)) {
        out.from = listener->from;
        out.namespaces = listener->selector;
    }
    return out;
}

void warn(Diagnostics& to, std::string_view kind, const ObjectMeta& object, const std::string& waypoint, std::string_view why) {
    to.warning(object.where + ": " + std::string(kind) + ' ' + object.key() + ": waypoint " + base::quoted(waypoint) + ' ' +
               std::string(why));
}

}  // namespace

bool Waypoint::same_as(const Waypoint& o) const {
    const auto text = [](const auto& message) { return message ? message->SerializeAsString() : std::string(); };
    return for_services == o.for_services && for_workloads == o.for_workloads && from == o.from && namespaces == o.namespaces &&
           tunnel.has_value() == o.tunnel.has_value() && text(tunnel) == text(o.tunnel) &&
           address.SerializeAsString() == o.address.SerializeAsString();
}

Waypoints::Waypoints(std::span<const Gateway* const> gateways, std::span<const GatewayClass> gateway_classes,
                     const NamespaceMap& namespaces, const std::string& network)
    : namespaces_(namespaces) {
    std::map<std::string_view, const ObjectMeta*> classes;
    for (const GatewayClass& c : gateway_classes) classes.emplace(c.meta.name, &c.meta);
    for (const Gateway* each : gateways) {
        const Gateway& gateway = *each;
        const auto found = classes.find(gateway.class_name);
        Waypoint waypoint = make_waypoint(gateway, found == classes.end() ? nullptr : found->second);
        if (gateway.programmed && fill_address(gateway, network, waypoint.address))
            by_key_.emplace(gateway.meta.key(), std::move(waypoint));
    }
}

std::set<std::string, std::less<>> Waypoints::difference(const Waypoints& a, const Waypoints& b) {
    std::set<std::string, std::less<>> out;
    for (const auto* pair : {&a, &b}) {
        const Waypoints& other = pair == &a ? b : a;
        for (const auto& [key, waypoint] : pair->by_key_) {
            const auto found = other.by_key_.find(key);
            if (found == other.by_key_.end() || !found->second.same_as(waypoint)) out.insert(waypoint.name);
        }
    }
    return out;
}

const Waypoint* Waypoints::find(std::string_view ns, std::string_view name) const {
    const auto found = by_key_.find(std::string(ns) + '/' + std::string(name));
    return found == by_key_.end() ? nullptr : &found->second;
}

const Waypoint* Waypoints::of_instance(std::string_view ns, const LabelMap& labels) const {
    const std::string_view name = label(labels, keys::kGatewayName);
    return name.empty() ? nullptr : find(ns, name);
}

const ObjectMeta* Waypoints::namespace_meta(std::string_view ns) const {
    const auto found = namespaces_.find(ns);
    return found == namespaces_.end() ? nullptr : &found->second->meta;
}

bool Waypoints::allows(const Waypoint& waypoint, std::string_view ns) const {
    if (waypoint.from == Listener::From::All) return true;
    if (waypoint.from == Listener::From::Same) return waypoint.ns == ns;
    const ObjectMeta* meta = namespace_meta(ns);
    return meta != nullptr && waypoint.namespaces.matches(meta->labels);
}

std::optional<Waypoints::Reference> Waypoints::reference(const ObjectMeta& object) const {
    Reference out;
    const ObjectMeta* at = &object;
    if (!has_label(object.labels, keys::kUseWaypoint)) {
        at = namespace_meta(object.ns);
        out.inherited = true;
    }
    if (at == nullptr || !has_label(at->labels, keys::kUseWaypoint)) return std::nullopt;
    out.labels = &at->labels;
    out.annotations = &at->annotations;
    out.name = label(at->labels, keys::kUseWaypoint);
    if (out.name == "none") return std::nullopt;
    const bool elsewhere = has_label(at->labels, keys::kUseWaypointNamespace);
    out.ns = elsewhere ? std::string(label(at->labels, keys::kUseWaypointNamespace)) : object.ns;
    return out;
}

Waypoints::Obstacle Waypoints::obstacle(const Waypoint* waypoint, const std::string& ns, bool to_service) const {
    if (waypoint == nullptr) return {"WaypointIsNotReady", "is not ready"};
    if (!allows(*waypoint, ns)) return {"AttachmentDenied", "lets nothing of this namespace attach (allowedRoutes)"};
    if (to_service && !waypoint->for_services) return {"UnsupportedTrafficType", "does not serve services (istio.io/waypoint-for)"};
    if (!to_service && !waypoint->for_workloads) return {"UnsupportedTrafficType", "does not serve workloads (istio.io/waypoint-for)"};
    return {};
}

const Waypoint* Waypoints::of_workload(const ObjectMeta& object, std::string_view kind, Diagnostics& problems) const {
    const auto wanted = reference(object);
    if (!wanted) return nullptr;
    const std::string key = wanted->ns + '/' + wanted->name;
    const Waypoint* waypoint = find(wanted->ns, wanted->name);
    const Obstacle obstacle = this->obstacle(waypoint, object.ns, false);
    if (obstacle.why.empty()) {
        problems.tell({ConditionType::WaypointBound, true, "WaypointAccepted", "bound to waypoint " + key});
        return waypoint;
    }
    const std::string why = std::string(obstacle.why) + "; traffic goes direct";
    // A namespace's waypoint that does not serve workloads is for its services.
    if (!wanted->inherited || obstacle.reason != "UnsupportedTrafficType")
        problems.tell({ConditionType::WaypointBound, false, std::string(obstacle.reason), "waypoint " + base::quoted(key) + ' ' + why});
    if (!wanted->inherited) warn(problems, kind, object, key, why);
    return nullptr;
}

Waypoints::ServiceBinding Waypoints::of_service(const ObjectMeta& object, std::string_view kind, bool own_namespace_only,
                                                Diagnostics& problems) const {
    ServiceBinding out;
    const std::string_view managed = label(object.labels, keys::kGatewayManaged);
    if (managed == "istio.io-mesh-controller" || managed == "istio.io-eastwest-controller") return out;
    const auto wanted = reference(object);
    if (!wanted) return out;
    const std::string key = wanted->ns + '/' + wanted->name;
    const Waypoint* waypoint = find(wanted->ns, wanted->name);
    Obstacle obstacle = this->obstacle(waypoint, object.ns, true);
    if (obstacle.why.empty() && own_namespace_only && waypoint->ns != object.ns)
        obstacle = {"CrossNamespaceWaypointForbidden", "is in another namespace, and this entry is seen by its own alone"};
    if (!obstacle.why.empty()) {
        const std::string why = std::string(obstacle.why) + "; traffic goes direct";
        problems.tell({ConditionType::WaypointBound, false, std::string(obstacle.reason), "waypoint " + base::quoted(key) + ' ' + why});
        warn(problems, kind, object, key, why);
        return out;
    }
    problems.tell({ConditionType::WaypointBound, true, "WaypointAccepted", "bound to waypoint " + key});
    out.primary = waypoint;
    const ObjectMeta* ns = namespace_meta(object.ns);
    const LabelMap* ingress = has_label(object.labels, keys::kIngressUseWaypoint) || ns == nullptr ? &object.labels : &ns->labels;
    out.ingress = keys::parse_bool(label(*ingress, keys::kIngressUseWaypoint)).value_or(false);
    add_canary(object, *wanted, out, kind, problems);
    return out;
}

void Waypoints::add_canary(const ObjectMeta& object, const Reference& primary, ServiceBinding& to, std::string_view kind,
                           Diagnostics& problems) const {
    // An object that names its own primary names its own canary too; else its canary counts before the namespace's.
    const ObjectMeta* at = &object;
    if (primary.inherited && !has_label(object.labels, keys::kCanary)) at = namespace_meta(object.ns);
    if (at == nullptr || !has_label(at->labels, keys::kCanary)) return;
    const std::string name(label(at->labels, keys::kCanary));
    const bool elsewhere = has_label(at->labels, keys::kCanaryNamespace);
    const std::string ns = elsewhere ? std::string(label(at->labels, keys::kCanaryNamespace)) : object.ns;

    unsigned percent = 0;
    bool percent_ok = true;
    if (has_label(at->annotations, keys::kCanaryWeight)) {
        const std::string_view text = label(at->annotations, keys::kCanaryWeight);
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), percent);
        percent_ok = failed == std::errc{} && end == text.data() + text.size() && percent <= 100;
    }
    const Waypoint* canary = find(ns, name);
    Obstacle obstacle = this->obstacle(canary, object.ns, true);
    if (!percent_ok)
        obstacle = {"CanaryInvalidWeight", "has an invalid weight; give 0 to 100"};
    else if (canary == to.primary)
        obstacle = {"CanarySameAsPrimary", "is the primary itself"};
    if (!obstacle.why.empty()) {
        const std::string why = std::string(obstacle.why) + "; used as canary, so the primary takes all";
        // Bound it is, to the primary.
        problems.tell(
            {ConditionType::WaypointBound, true, std::string(obstacle.reason), "waypoint " + base::quoted(ns + '/' + name) + ' ' + why});
        return warn(problems, kind, object, ns + '/' + name, why);
    }
    to.canary = canary;
    to.canary_percent = percent;
}

}  // namespace warren::cluster
