// SPDX-License-Identifier: Apache-2.0
// Pod, Service and EndpointSlice; metadata and selectors, which all kinds have.
#include "agent/cluster/read_kinds.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "policy/fields_yaml.h"

#include <algorithm>
#include <chrono>

namespace warren::cluster {

using policy::Node;

namespace {

// RFC 1123 subdomain, which every name of these kinds is; a '/' in one would forge resource names.
bool is_object_name(std::string_view name) {
    return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
}

std::string checked_name(const FieldMap& meta, std::string_view key, std::string absent) {
    const Node node = meta.get(key);
    std::string name = meta.text(key);
    if (name.empty()) return absent;  // "" is the same as none
    if (!is_object_name(name)) meta.reading().refuse(node, base::quoted(name) + " is no name; use small letters, digits, '-' and '.'");
    return name;
}

Node child(Node map, std::string_view key) {
    if (!map.is(Node::Kind::Map)) return {};
    for (Node name = map.first(); name; name = name.next().next())
        if (name.text() == key) return name.next();
    return {};
}

void read_container_ports(const FieldMap& container, std::vector<ContainerPort>& to) {
    for (const FieldMap& port : container.maps("ports")) {
        const std::string protocol = port.text("protocol");
        if (protocol.empty() || protocol == "TCP") to.push_back({port.text("name"), port.port("containerPort")});
    }
}

ServicePort read_service_port(const FieldMap& port) {
    ServicePort out;
    out.name = port.text("name");
    out.udp = port.text("protocol") == "UDP";
    out.port = port.port("port");
    if (out.port == 0) port.reading().refuse(port.node(), "port is missing or 0; give 1 to 65535");
    out.app_protocol = port.optional_text("appProtocol");
    const std::string text = port.text("targetPort");
    if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
        out.target = port.port("targetPort");
    } else {
        out.target_name = text;
    }
    if (out.target == 0 && out.target_name.empty()) out.target = out.port;  // as the API server fills it in, for 0 and "" too
    return out;
}

// What the API server fills in where the object leaves it open. A headless service without a selector is of both families, whatever the
// cluster has, unless its policy is SingleStack; one with a selector where it asks for both.
std::vector<std::string> families_of(const FieldMap& spec, const KubeService& service, bool headless) {
    std::vector<std::string> out = spec.texts("ipFamilies");
    if (!headless) {
        if (out.empty())
            for (const base::IpAddr& ip : service.cluster_ips) out.emplace_back(ip.is_v4() ? "IPv4" : "IPv6");
        return out;
    }
    const std::string policy = spec.text("ipFamilyPolicy");
    const bool both = service.selector.empty() ? policy != "SingleStack" : policy == "RequireDualStack";
    if (out.empty()) out.emplace_back("IPv4");
    if (both && out.size() == 1) out.emplace_back(out.front() == "IPv4" ? "IPv6" : "IPv4");
    return out;
}

}  // namespace

std::string where(const FieldMap& object) { return object.node().place(); }

ObjectMeta read_name(const FieldMap& object, const FieldMap& meta, bool namespaced) {
    ObjectMeta out;
    out.where = where(object);
    out.name = checked_name(meta, "name", "");
    if (out.name.empty() && !object.reading().failed)
        object.reading().refuse(object.node(), object.get("apiVersion") ? "metadata.name is missing; add it" : "name is missing; add it");
    if (namespaced) out.ns = checked_name(meta, "namespace", "default");  // where kubectl puts an object that names none
    out.labels = meta.labels("labels");
    return out;
}

void read_told(const FieldMap& object, std::initializer_list<ConditionType> types, ObjectMeta& to) {
    const Node generation = child(child(object.node(), "metadata"), "generation");
    if (generation.is(Node::Kind::Scalar))
        if (const auto number = policy::read_number(generation, UINT32_MAX)) to.generation = *number;
    const Node conditions = child(child(object.node(), "status"), "conditions");
    if (!conditions.is(Node::Kind::Sequence)) return;
    for (const Node condition : conditions) {
        const Node given = child(condition, "type");
        for (const ConditionType type : types)
            if (given.is(Node::Kind::Scalar) && given.text() == to_string(type)) to.held.types |= set_of(type);
    }
}

ObjectMeta read_meta(const FieldMap& object, bool namespaced) {
    const FieldMap meta = object.map("metadata");
    ObjectMeta out = read_name(object, meta, namespaced);
    out.uid = meta.text("uid");
    out.generate_name = meta.text("generateName");
    out.annotations = meta.labels("annotations");
    out.deleting = static_cast<bool>(meta.get("deletionTimestamp"));
    if (const Node created = meta.get("creationTimestamp")) {
        const auto time = base::parse_rfc3339(meta.text("creationTimestamp"));
        if (!time) meta.reading().refuse(created, "no time; give it as 2024-01-31T23:59:59Z");
        if (time) out.created_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time->time_since_epoch()).count();
    }
    for (const FieldMap& owner : meta.maps("ownerReferences")) {
        if (!owner.flag("controller")) continue;
        out.owner_kind = owner.text("kind");
        out.owner_name = owner.text("name");
    }
    return out;
}

LabelSelector read_label_selector(const FieldMap& selector) {
    using Operator = LabelSelector::Operator;
    LabelSelector out;
    out.match_labels = selector.labels("matchLabels");
    for (const FieldMap& wanted : selector.maps("matchExpressions")) {
        out.match_expressions.push_back({wanted.text("key"),
                                         wanted.word("operator", Operator::In,
                                                     {{"In", Operator::In},
                                                      {"NotIn", Operator::NotIn},
                                                      {"Exists", Operator::Exists},
                                                      {"DoesNotExist", Operator::DoesNotExist}}),
                                         wanted.texts("values")});
    }
    return out;
}

std::optional<base::IpAddr> read_address(const FieldMap& map, std::string_view key) {
    const Node node = map.get(key);
    return node ? map.reading().take(policy::read_ip(node)) : std::nullopt;
}

Pod read_pod(const FieldMap& object) {
    Pod out;
    out.meta = read_meta(object, true);
    const FieldMap spec = object.map("spec");
    out.service_account = spec.text("serviceAccountName");
    if (out.service_account.empty()) out.service_account = spec.text("serviceAccount");  // its old name
    if (out.service_account.empty()) out.service_account = "default";
    out.node = spec.text("nodeName");
    out.host_network = spec.flag("hostNetwork");
    for (const FieldMap& container : spec.maps("containers")) read_container_ports(container, out.tcp_ports);
    for (const FieldMap& container : spec.maps("initContainers"))
        if (container.text("restartPolicy") == "Always") read_container_ports(container, out.tcp_ports);

    const FieldMap status = object.map("status");
    out.phase = status.text("phase");
    for (const FieldMap& ip : status.maps("podIPs"))
        if (const auto address = read_address(ip, "ip")) out.ips.push_back(*address);
    if (out.ips.empty() && !status.text("podIP").empty())
        if (const auto address = read_address(status, "podIP")) out.ips.push_back(*address);
    for (const FieldMap& condition : status.maps("conditions"))
        if (condition.text("type") == "Ready") out.ready = condition.text("status") == "True";
    return out;
}

KubeService read_service(const FieldMap& object) {
    KubeService out;
    out.meta = read_meta(object, true);
    read_told(object, {ConditionType::WaypointBound}, out.meta);
    const FieldMap spec = object.map("spec");
    out.external_name = spec.text("type") == "ExternalName";
    out.publish_not_ready = spec.flag("publishNotReadyAddresses");
    out.internal_local = spec.text("internalTrafficPolicy") == "Local";
    out.traffic_distribution = spec.text("trafficDistribution");
    out.selector = spec.labels("selector");
    for (const FieldMap& port : spec.maps("ports")) out.ports.push_back(read_service_port(port));

    bool headless = false;
    const auto add_ip = [&](Node node) {
        const std::string_view text = node.is(Node::Kind::Scalar) ? node.text() : std::string_view("?");
        if (text == "None") {
            headless = true;
        } else if (!text.empty()) {
            if (const auto ip = spec.reading().take(policy::read_ip(node))) out.cluster_ips.push_back(*ip);
        }
    };
    for (const Node ip : spec.list("clusterIPs")) add_ip(ip);
    if (const Node ip = spec.get("clusterIP"); ip && out.cluster_ips.empty() && !headless) add_ip(ip);

    out.ip_families = families_of(spec, out, headless);
    return out;
}

EndpointSlice read_slice(const FieldMap& object) {
    EndpointSlice out;
    out.meta = read_meta(object, true);
    out.fqdn = object.text("addressType") == "FQDN";
    for (const FieldMap& port : object.maps("ports")) {
        const std::string protocol = port.text("protocol");
        if (port.get("port") && (protocol.empty() || protocol == "TCP")) out.tcp_ports.push_back({port.text("name"), port.port("port")});
    }
    for (const FieldMap& given : object.maps("endpoints")) {
        SliceEndpoint endpoint;
        const FieldMap conditions = given.map("conditions");
        endpoint.ready = !conditions.get("ready") || conditions.flag("ready");
        const FieldMap target = given.map("targetRef");
        endpoint.is_pod = target.text("kind") == "Pod";
        endpoint.pod_ns = target.text("namespace");
        endpoint.pod_name = target.text("name");
        endpoint.pod_uid = target.text("uid");
        const std::vector<Node> addresses = given.list("addresses");
        for (const Node address : addresses) {
            if (endpoint.first.empty() && address.is(Node::Kind::Scalar)) endpoint.first = address.text();
            if (out.fqdn) continue;
            if (const auto ip = given.reading().take(policy::read_ip(address))) endpoint.ips.push_back(*ip);
        }
        out.endpoints.push_back(std::move(endpoint));
    }
    return out;
}

}  // namespace warren::cluster
