// SPDX-License-Identifier: Apache-2.0
// Waypoints (Kubernetes contract 2.9) as far as no recorded conversion shows it.
#include "agent/cluster/conversion.h"
#include "tests/agent/cluster/conversion_fixture.h"

using namespace warren::cluster;
using Json = nlohmann::json;

namespace {

struct Case {
    std::string service_labels = {}, service_annotations = {}, pod_labels = "app: web";
    std::string namespace_labels = {}, namespace_annotations = {};

    [[nodiscard]] std::string yaml() const {
        return object_yaml("v1", "Namespace", "name: ns1, labels: {" + namespace_labels + "}, annotations: {" + namespace_annotations + "}",
                           "") +
               object_yaml("v1", "Service",
                           "name: s, namespace: ns1, labels: {" + service_labels + "}, annotations: {" + service_annotations + "}",
                           "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}") +
               pod_yaml("ns1", "web-1", "labels: {" + pod_labels + "}");
    }
};

std::string gateway(const std::string& name, const std::string& ip, const std::string& ns = "ns1", const std::string& labels = "",
                    const std::string& routes = "") {
    return object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: " + name + ", namespace: " + ns + ", labels: {" + labels + "}",
                       "spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE" + routes +
                           "}]}\nstatus: {addresses: [{value: " + ip + "}]}");
}

// The address of the waypoint a Service is sent with, "-" for none.
std::string of_service(const Case& c, const std::string& gateways) {
    const Json s = clean(c.yaml() + gateways).service("ns1/s.ns1.svc.cluster.local");
    return s.contains("waypoint") ? s["waypoint"]["address"]["address"].get<std::string>() : "-";
}
std::string of_pod(const Case& c, const std::string& gateways) {
    const Json p = clean(c.yaml() + gateways).pod("ns1/web-1");
    return p.contains("waypoint") ? p["waypoint"]["address"]["address"].get<std::string>() : "-";
}

const std::string kUse = "istio.io/use-waypoint: wp";
const std::string kWp = gateway("wp", "10.1.1.1");

std::vector<StatusChange> statuses(const std::string& yaml, const Settings& settings = {}) {
    struct Nobody final : OutputSink {
        void begin_whole() override {}
        void end_whole() override {}
        void set_workload(const std::string&, Workload&) override {}
        void set_service(const std::string&, istio::workload::Service&) override {}
        void set_authorization(const std::string&, const istio::security::Authorization&) override {}
        void remove_workload(const std::string&) override {}
        void remove_service(const std::string&) override {}
        void remove_authorization(const std::string&) override {}
    } nobody;
    ObjectReader reader;
    reader.add(yaml, "t.yaml");
    Conversion conversion(settings);
    conversion.update(reader.objects(), {}, nobody);
    return conversion.take_status_changes();
}

// Of the one object that is told something.
std::vector<Told> all_told(const std::string& yaml) {
    const auto changes = statuses(yaml);
    REQUIRE(changes.size() <= 1);
    return changes.empty() ? std::vector<Told>() : changes.front().told;
}

// "KIND STATUS REASON" of what is told, the first there is.
std::string told(const std::string& yaml, const Settings& settings = {}) {
    const auto changes = statuses(yaml, settings);
    if (changes.empty() || changes.front().told.empty()) return "-";
    const auto& bound = changes.front().told.front();
    CHECK(!bound.message.empty());
    const auto kind = changes.front().kind;
    return std::string(kind == ObjectKind::Service        ? "service "
                       : kind == ObjectKind::ServiceEntry ? "entry "
                                                          : "workload ") +
           (bound.status ? "True " : "False ") + bound.reason;
}

}  // namespace

TEST_CASE("conversion: what the author of an object is told of its waypoint (condition istio.io/WaypointBound)") {
    const auto service = [](const Case& c, const std::string& gateways) { return told(c.yaml() + gateways); };
    CHECK(service({}, kWp) == "-");
    CHECK(service({.service_labels = "istio.io/use-waypoint: none", .namespace_labels = kUse}, kWp) == "-");
    CHECK(service({.service_labels = kUse}, kWp) == "service True WaypointAccepted");
    CHECK(service({.namespace_labels = kUse}, kWp) == "service True WaypointAccepted");
    CHECK(service({.service_labels = kUse}, "") == "service False WaypointIsNotReady");
    CHECK(service({.namespace_labels = kUse}, "") == "service False WaypointIsNotReady");
    const std::string elsewhere = kUse + ", istio.io/use-waypoint-namespace: ns2";
    CHECK(service({.service_labels = elsewhere}, gateway("wp", "10.1.1.1", "ns2")) == "service False AttachmentDenied");
    CHECK(service({.service_labels = kUse}, gateway("wp", "10.1.1.1", "ns1", "istio.io/waypoint-for: workload")) ==
          "service False UnsupportedTrafficType");
    const std::string canary = kUse + ", istio.io/use-waypoint-canary: ";
    const std::string weight = "istio.io/use-waypoint-canary-weight: ";
    const std::string both = kWp + gateway("next", "10.1.1.2");
    CHECK(service({.service_labels = canary + "next", .service_annotations = weight + "'9'"}, both) == "service True WaypointAccepted");
    CHECK(service({.service_labels = canary + "next", .service_annotations = weight + "x"}, both) == "service True CanaryInvalidWeight");
    CHECK(service({.service_labels = canary + "wp"}, both) == "service True CanarySameAsPrimary");
    CHECK(service({.service_labels = canary + "gone"}, both) == "service True WaypointIsNotReady");

    const auto entry = [](const std::string& labels) {
        return object_yaml("networking.istio.io/v1", "ServiceEntry", "name: e, namespace: ns1, labels: {" + labels + "}",
                           "spec: {hosts: [a.example], addresses: [240.0.0.1], ports: [{number: 80, name: http, protocol: HTTP}], "
                           "resolution: STATIC}");
    };
    Settings own;
    own.service_entries = Settings::Visibility::Namespace;
    const std::string open = gateway("wp", "10.1.1.1", "ns2", "", ", allowedRoutes: {namespaces: {from: All}}");
    CHECK(told(entry(elsewhere) + open) == "entry True WaypointAccepted");
    CHECK(told(entry(elsewhere) + open, own) == "entry False CrossNamespaceWaypointForbidden");

    const auto workload = [](const std::string& labels, const std::string& of_namespace) {
        return object_yaml("v1", "Namespace", "name: ns1, labels: {" + of_namespace + "}", "") +
               object_yaml("networking.istio.io/v1", "WorkloadEntry", "name: w, namespace: ns1, labels: {" + labels + "}",
                           "spec: {address: 10.9.9.9}");
    };
    CHECK(told(workload(kUse, "") + gateway("wp", "10.1.1.1", "ns1", "istio.io/waypoint-for: all")) == "workload True WaypointAccepted");
    CHECK(told(workload(kUse, "") + kWp) == "workload False UnsupportedTrafficType");
    CHECK(told(workload("", kUse) + kWp) == "-");  // the namespace's waypoint is for its services
}

TEST_CASE("conversion: an entry that needs a waypoint and has none is told so (condition istio.io/WaypointMissing)") {
    const auto missing = [](const std::string& meta, const std::string& host, const std::string& resolution, const std::string& gateways) {
        for (const Told& one :
             all_told(object_yaml("networking.istio.io/v1", "ServiceEntry", "name: e, namespace: ns1, " + meta,
                                  "spec: {hosts: [b.example, '" + host +
                                      "'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: " + resolution + "}") +
                      gateways))
            if (one.type == ConditionType::WaypointMissing) {
                CHECK(one.status);
                CHECK(!one.message.empty());
                return one.reason;
            }
        return std::string("-");
    };
    const std::string used = "labels: {" + kUse + "}", races = "annotations: {istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT}";
    const std::string wildcard = "NoWaypointForWildcardService", racing = "NoWaypointForRacingConnectStrategy";
    CHECK(missing("", "*.a.example", "DYNAMIC_DNS", "") == wildcard);
    CHECK(missing("", "a.example", "DYNAMIC_DNS", "") == "-");
    CHECK(missing("", "*.a.example", "NONE", "") == "-");
    CHECK(missing(used, "*.a.example", "DYNAMIC_DNS", kWp) == "-");
    CHECK(missing(used, "*.a.example", "DYNAMIC_DNS", "") == wildcard);  // not ready is none
    CHECK(missing(races, "a.example", "DNS", "") == racing);
    CHECK(missing(races + ", " + used, "a.example", "DNS", kWp) == "-");
    CHECK(missing("annotations: {istio.io/connect-strategy: DEFAULT}", "a.example", "DNS", "") == "-");
    CHECK(missing(races, "*.a.example", "DYNAMIC_DNS", "") == wildcard);
}

TEST_CASE("conversion: whether a policy for waypoints has found one (condition WaypointAccepted)") {
    const auto accepted = [](const std::string& targets, const std::string& others, const std::string& ns = "ns1") {
        const std::string policy = object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: p, namespace: " + ns,
                                               "spec: {targetRefs: [" + targets + "]}");
        for (const StatusChange& change : statuses(policy + others)) {
            if (change.kind != ObjectKind::AuthorizationPolicy) continue;
            REQUIRE(change.told.size() == 1);
            const Told& one = change.told.front();
            CHECK(one.type == ConditionType::WaypointAccepted);
            CHECK(!one.message.empty());
            return (one.status ? "True " : "False ") + one.reason;
        }
        return std::string("-");
    };
    const std::string gateway_group = "group: gateway.networking.k8s.io, ";
    const std::string to_gateway = "{" + gateway_group + "kind: Gateway, name: wp}";
    const std::string to_service = "{kind: Service, name: s}", to_entry = "{group: networking.istio.io, kind: ServiceEntry, name: e}";
    const std::string to_class = "{" + gateway_group + "kind: GatewayClass, name: istio-waypoint}";
    const auto entry = [](const std::string& labels) {
        return object_yaml("networking.istio.io/v1", "ServiceEntry", "name: e, namespace: ns1, labels: {" + labels + "}",
                           "spec: {hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}");
    };
    const std::string bound = Case{.service_labels = kUse}.yaml(), free = Case{}.yaml();
    const std::string unready =
        object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: wp, namespace: ns1", "spec: {gatewayClassName: x}");
    const auto gateway_class = [](const std::string& name) {
        return object_yaml("gateway.networking.k8s.io/v1", "GatewayClass", "name: " + name, "");
    };
    const std::string ok = "True Accepted", gone = "False TargetNotFound", unbound = "False AncestorNotBound", wrong = "False Invalid";

    CHECK(accepted(to_gateway, kWp) == ok);
    CHECK(accepted(to_gateway, "") == gone);
    CHECK(accepted(to_gateway, gateway("wp", "10.1.1.1", "ns2")) == gone);
    CHECK(accepted(to_gateway, unready) == unbound);
    CHECK(accepted(to_service, bound + kWp) == ok);
    CHECK(accepted("{group: core, kind: Service, name: s}", bound + kWp) == ok);
    CHECK(accepted(to_service, Case{.namespace_labels = kUse}.yaml() + kWp) == ok);
    CHECK(accepted(to_service, bound) == unbound);  // the waypoint is not ready
    CHECK(accepted(to_service, free + kWp) == unbound);
    CHECK(accepted(to_service, kWp) == gone);
    CHECK(accepted(to_entry, entry(kUse) + kWp) == ok);
    CHECK(accepted(to_entry, entry("") + kWp) == unbound);
    CHECK(accepted(to_entry, bound + kWp) == gone);
    CHECK(accepted(to_class, gateway_class("istio-waypoint"), "istio-system") == ok);
    CHECK(accepted(to_class, "", "istio-system") == gone);
    CHECK(accepted(to_class, gateway_class("istio-waypoint")) == wrong);
    CHECK(accepted("{" + gateway_group + "kind: GatewayClass, name: istio}", gateway_class("istio"), "istio-system") == wrong);
    CHECK(accepted("{kind: Gateway, name: wp}", kWp) == wrong);  // of no such group
    CHECK(accepted("{" + gateway_group + "kind: Gateway, namespace: ns2, name: wp}", gateway("wp", "10.1.1.1", "ns2")) == wrong);
    CHECK(accepted("{" + gateway_group + "kind: Gateway, namespace: ns1, name: wp}", kWp) == ok);
    CHECK(accepted("{kind: Pod, name: web-1}", bound) == wrong);
    CHECK(accepted("{}", kWp) == wrong);

    CHECK(accepted(to_gateway + ", " + to_service, bound + kWp) == ok);
    CHECK(accepted(to_gateway + ", " + to_service, free + kWp) == "True PartiallyInvalid");
    CHECK(accepted(to_gateway + ", " + to_service, "") == gone);
    CHECK(accepted(to_gateway + ", " + to_service, free) == wrong);  // for more than one reason
    const std::string of_other_revision =
        object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: q, namespace: ns1, labels: {istio.io/rev: next}",
                    "spec: {targetRefs: [" + to_gateway + "]}");
    CHECK(statuses(of_other_revision + kWp).empty());
}

TEST_CASE("conversion: what a gateway into another network is told, and no other") {
    struct Status {
        std::string conditions, listeners;
        size_t addresses = 0;
    };
    const auto status = [](const std::string& meta, const std::string& spec) {
        const auto brief = [](const std::vector<Told>& told) {
            REQUIRE(told.size() == 2);
            CHECK(told[0].type == ConditionType::Accepted);
            CHECK(told[1].type == ConditionType::Programmed);
            CHECK(!told[0].message.empty());
            CHECK(!told[1].message.empty());
            return (told[0].status ? "True " : "False ") + told[0].reason + (told[1].status ? ", True " : ", False ") + told[1].reason;
        };
        Status out;
        const auto changes = statuses(object_yaml("gateway.networking.k8s.io/v1", "Gateway",
                                                  "name: g, namespace: ns1, generation: 3" + meta, "spec: {" + spec + "}"));
        if (changes.empty()) return out;
        CHECK(changes.front().kind == ObjectKind::Gateway);
        CHECK(changes.front().generation == 3);
        out.conditions = brief(changes.front().told);
        for (const auto& listener : changes.front().gateway.listeners) out.listeners += listener.name + ": " + brief(listener.told) + "; ";
        out.addresses = changes.front().gateway.addresses.size();
        return out;
    };
    const std::string network = ", labels: {topology.istio.io/network: b}", remote = "gatewayClassName: istio-remote";
    const std::string hbone = ", listeners: [{name: x, port: 15008, protocol: HBONE}]", address = ", addresses: [{value: 10.1.1.1}]";
    const Status good = status(network, remote + hbone + address);
    CHECK(good.conditions == "True Accepted, True Programmed");
    CHECK(good.listeners == "x: True Accepted, True Programmed; ");
    CHECK(good.addresses == 1);
    CHECK(status(network, remote + hbone).conditions == "True Accepted, False AddressNotAssigned");
    CHECK(status(network, remote + hbone + ", addresses: [{value: ''}]").conditions == "True Accepted, False AddressNotAssigned");
    CHECK(status(network, remote + hbone).listeners == "x: True Accepted, False Invalid; ");
    CHECK(status(network, remote + address).conditions == "False ListenersNotValid, False Invalid");
    CHECK(status(network, remote + address).addresses == 0);
    CHECK(status("", remote + hbone + address).conditions == "False Invalid, False Invalid");
    const std::string more =
        ", listeners: [{name: w, port: 80, protocol: HTTP}, {name: x, port: 15008, protocol: HBONE}, "
        "{name: y, port: 15009, protocol: HBONE}]";
    CHECK(status(network, remote + more + address).listeners ==
          "w: False UnsupportedProtocol, False Invalid; x: True Accepted, True Programmed; y: False Invalid, False Invalid; ");
    for (const char* other : {"istio-waypoint", "istio-east-west", "istio", "mine"})
        CHECK(status(network, "gatewayClassName: " + std::string(other) + hbone + address).conditions.empty());
    CHECK(status(", labels: {topology.istio.io/network: b, istio.io/rev: next}", remote + hbone + address).conditions.empty());
}

TEST_CASE("conversion: who is bound to a waypoint") {
    CHECK(of_service({}, kWp) == "-");
    CHECK(of_service({.service_labels = kUse}, kWp) == "10.1.1.1");
    CHECK(of_service({.namespace_labels = kUse}, kWp) == "10.1.1.1");
    CHECK(of_service({.service_labels = "istio.io/use-waypoint: none", .namespace_labels = kUse}, kWp) == "-");
    CHECK(of_service({.service_labels = "istio.io/use-waypoint: gone", .namespace_labels = kUse}, kWp) == "-");
    CHECK(of_service({.service_labels = kUse + ", gateway.istio.io/managed: istio.io-mesh-controller"}, kWp) == "-");
    CHECK(of_service({.service_labels = kUse + ", gateway.istio.io/managed: istio.io-eastwest-controller"}, kWp) == "-");
    const std::string unready =
        object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: wp, namespace: ns1", "spec: {gatewayClassName: x}");
    CHECK(of_service({.service_labels = kUse}, unready) == "-");
}

TEST_CASE("conversion: a waypoint serves services, workloads or both") {
    const auto serving = [](const std::string& what) { return gateway("wp", "10.1.1.1", "ns1", "istio.io/waypoint-for: " + what); };
    const Case own{.service_labels = kUse, .pod_labels = kUse};
    CHECK(of_service(own, serving("service")) == "10.1.1.1");
    CHECK(of_pod(own, serving("service")) == "-");
    CHECK(of_pod(own, kWp) == "-");  // service is the default
    CHECK(of_service(own, serving("workload")) == "-");
    CHECK(of_pod(own, serving("workload")) == "10.1.1.1");
    CHECK(of_service(own, serving("all")) == "10.1.1.1");
    CHECK(of_pod(own, serving("all")) == "10.1.1.1");
    CHECK(of_service(own, serving("none")) == "-");
    CHECK(of_pod({.namespace_labels = kUse}, serving("all")) == "10.1.1.1");
    const std::string by_class =
        object_yaml("gateway.networking.k8s.io/v1", "GatewayClass", "name: istio-waypoint, labels: {istio.io/waypoint-for: all}", "");
    CHECK(of_pod(own, kWp + by_class) == "10.1.1.1");
    CHECK(of_pod(own, serving("service") + by_class) == "-");  // the Gateway beats its class
}

TEST_CASE("conversion: a waypoint decides which namespaces may attach") {
    const Case away{.service_labels = kUse + ", istio.io/use-waypoint-namespace: infra", .namespace_labels = "team: a"};
    const auto routes = [](const std::string& text) {
        return gateway("wp", "10.1.1.1", "infra", "", ", allowedRoutes: {namespaces: {" + text + "}}");
    };
    CHECK(of_service(away, gateway("wp", "10.1.1.1", "infra")) == "-");
    CHECK(of_service(away, routes("from: Same")) == "-");
    CHECK(of_service(away, routes("from: All")) == "10.1.1.1");
    CHECK(of_service(away, routes("from: Selector, selector: {matchLabels: {team: a}}")) == "10.1.1.1");
    CHECK(of_service(away, routes("from: Selector, selector: {matchLabels: {team: b}}")) == "-");
    CHECK(of_service(away, routes("from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, "
                                  "values: [ns1]}]}")) == "10.1.1.1");
    CHECK(of_service(away, routes("from: None")) == "-");
}

TEST_CASE("conversion: what a waypoint is reached by") {
    const std::string named = object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: wp, namespace: ns1",
                                          "spec: {gatewayClassName: x}\nstatus: {addresses: [{type: IPAddress, value: 10.1.1.1}, "
                                          "{type: Hostname, value: wp.ns1.svc.cluster.local}]}");
    const Json s = clean(Case{.service_labels = kUse}.yaml() + named).service("ns1/s.ns1.svc.cluster.local");
    CHECK(s["waypoint"] == Json::parse(R"({"hboneMtlsPort":15008,"hostname":{"namespace":"ns1","hostname":"wp.ns1.svc.cluster.local"}})"));
}

TEST_CASE("conversion: gateways into the mesh pass a waypoint when told to") {
    const auto ingress = [](const Case& c) {
        return clean(c.yaml() + kWp).service("ns1/s.ns1.svc.cluster.local").value("ingressUseWaypoint", false);
    };
    CHECK(ingress({.service_labels = kUse + ", istio.io/ingress-use-waypoint: 'T'"}));
    CHECK_FALSE(ingress({.service_labels = kUse + ", istio.io/ingress-use-waypoint: 'yes'"}));
    CHECK(ingress({.service_labels = kUse, .namespace_labels = "istio.io/ingress-use-waypoint: 'true'"}));
    CHECK_FALSE(ingress({.service_labels = kUse + ", istio.io/ingress-use-waypoint: 'false'",
                         .namespace_labels = "istio.io/ingress-use-waypoint: 'true'"}));
    CHECK_FALSE(ingress({.service_labels = "istio.io/ingress-use-waypoint: 'true'"}));  // bound to none
}

TEST_CASE("conversion: a share of connections for a canary waypoint") {
    const std::string gateways = kWp + gateway("next", "10.1.1.2");
    const std::string canary = "istio.io/use-waypoint-canary: next", weight = "istio.io/use-waypoint-canary-weight: ";
    const auto shares = [&](const Case& c) {
        std::string out;
        const Json s = clean(c.yaml() + gateways).service("ns1/s.ns1.svc.cluster.local");
        for (const auto& w : s.value("weightedWaypoints", Json::array()))
            out += w["destination"]["address"]["address"].get<std::string>() + '=' + std::to_string(w.value("weight", 0)) + ' ';
        return out;
    };
    CHECK(shares({.service_labels = kUse + ", " + canary, .service_annotations = weight + "'30'"}) == "10.1.1.1=70 10.1.1.2=30 ");
    CHECK(shares({.service_labels = kUse + ", " + canary}) == "10.1.1.1=100 10.1.1.2=0 ");
    CHECK(shares({.service_labels = kUse + ", " + canary, .service_annotations = weight + "'101'"}).empty());
    CHECK(shares({.service_labels = kUse + ", " + canary, .service_annotations = weight + "x"}).empty());
    CHECK(shares({.service_labels = kUse + ", istio.io/use-waypoint-canary: wp"}).empty());
    CHECK(shares({.service_labels = kUse + ", istio.io/use-waypoint-canary: gone"}).empty());
    CHECK(shares({.service_labels = kUse, .namespace_labels = canary}).empty());  // its own primary: the namespace's canary is not for it
    CHECK(shares({.namespace_labels = kUse + ", " + canary, .namespace_annotations = weight + "'5'"}) == "10.1.1.1=95 10.1.1.2=5 ");
    CHECK(shares({.service_labels = canary, .service_annotations = weight + "'9'", .namespace_labels = kUse}) == "10.1.1.1=91 10.1.1.2=9 ");
}

TEST_CASE("conversion: pods of a gateway") {
    const auto pod = [](const std::string& binding) {
        const std::string gw = object_yaml("gateway.networking.k8s.io/v1", "Gateway",
                                           "name: wp, namespace: ns1, labels: {istio.io/waypoint-for: all}, annotations: {" + binding + "}",
                                           "spec: {gatewayClassName: x}\nstatus: {addresses: [{value: 10.1.1.1}]}");
        return clean(Case{.pod_labels = "gateway.networking.k8s.io/gateway-name: wp", .namespace_labels = kUse}.yaml() + gw)
            .pod("ns1/web-1");
    };
    CHECK_FALSE(pod("a: b").contains("waypoint"));  // a waypoint has none itself
    CHECK_FALSE(pod("a: b").contains("applicationTunnel"));
    CHECK(pod("ambient.istio.io/waypoint-inbound-binding: PROXY/15088")["applicationTunnel"] ==
          Json::parse(R"({"protocol":"PROXY","port":15088})"));
    CHECK(pod("ambient.istio.io/waypoint-inbound-binding: PROXY")["applicationTunnel"] == Json::parse(R"({"protocol":"PROXY"})"));
    CHECK(pod("ambient.istio.io/waypoint-inbound-binding: NONE")["applicationTunnel"] == Json::object());
    CHECK_FALSE(pod("ambient.istio.io/waypoint-inbound-binding: OTHER/1").contains("applicationTunnel"));
}

TEST_CASE("conversion: entries and endpoints are bound as pods are") {
    const std::string wp = gateway("wp", "10.1.1.1", "ns1", "istio.io/waypoint-for: all") +
                           gateway("other", "10.1.1.2", "ns1", "istio.io/waypoint-for: all") +
                           gateway("services", "10.1.1.3", "ns1", "istio.io/waypoint-for: service");
    const auto bound = [&](const std::string& labels_of_namespace, const std::string& kind, const std::string& labels,
                           const std::string& spec, const std::string& uid) {
        const Json w =
            clean(wp + object_yaml("v1", "Namespace", "name: ns1, labels: {" + labels_of_namespace + "}", "") +
                  object_yaml("networking.istio.io/v1", kind, "name: o, namespace: ns1, labels: {" + labels + "}", "spec: {" + spec + "}"))
                .workload("Kubernetes/networking.istio.io/" + kind + "/ns1/o" + uid);
        REQUIRE(w.is_object());
        return w.contains("waypoint") ? w["waypoint"]["address"]["address"].get<std::string>() : "-";
    };
    const std::string other = "istio.io/use-waypoint: other", none = "istio.io/use-waypoint: none";
    const auto entry = [&](const std::string& ns, const std::string& labels, const std::string& of_spec) {
        return bound(ns, "WorkloadEntry", labels, "address: 10.0.0.9, labels: {" + of_spec + "}", "");
    };
    CHECK(entry(kUse, "", "") == "10.1.1.1");
    CHECK(entry(kUse, other, "") == "10.1.1.2");
    CHECK(entry(kUse, "", other) == "10.1.1.2");
    CHECK(entry(kUse, other, none) == "10.1.1.2");  // labels of the object win
    CHECK(entry(kUse, none, "") == "-");
    CHECK(entry("istio.io/use-waypoint: services", "", "") == "-");
    const auto endpoint = [&](const std::string& ns, const std::string& labels, const std::string& of_endpoint) {
        return bound(ns, "ServiceEntry", labels,
                     "hosts: [h.example], resolution: STATIC, endpoints: [{address: 10.0.0.9, labels: {" + of_endpoint + "}}]",
                     "/10.0.0.9");
    };
    CHECK(endpoint(kUse, other, "") == "10.1.1.1");  // the labels of the ServiceEntry bind the service, not its endpoints
    CHECK(endpoint("", other, "") == "-");
    CHECK(endpoint(kUse, "", other) == "10.1.1.2");
    CHECK(endpoint(kUse, "", none) == "-");
    CHECK(bound(kUse, "ServiceEntry", other, "hosts: [h.example], resolution: DNS", "/h.example") == "-");  // made of a name: never
}

TEST_CASE("conversion: a waypoint is reached in the local network") {
    const std::string system = object_yaml("v1", "Namespace", "name: istio-system, labels: {topology.istio.io/network: net1}", "");
    const auto waypoint = [&](const std::string& addresses) {
        const std::string gw = object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: wp, namespace: ns1",
                                           "spec: {gatewayClassName: x}\nstatus: {addresses: [" + addresses + "]}");
        return clean(Case{.service_labels = kUse}.yaml() + system + gw).service("ns1/s.ns1.svc.cluster.local").value("waypoint", Json());
    };
    const Json fd = Json::parse(R"({"hboneMtlsPort":15008,"address":{"network":"net1","address":"fd00::1"}})");
    CHECK(waypoint("{type: IPAddress, value: 'fd00::1'}, {value: 10.1.1.1}") == fd);  // the first
    CHECK(waypoint("{type: example.com/own, value: x}, {value: 'fd00::1'}") == fd);
    CHECK(waypoint("{type: example.com/own, value: x}").is_null());
    CHECK(waypoint("{type: IPAddress, value: nonsense}").is_null());
}

TEST_CASE("conversion: an entry seen by its namespace alone has no waypoint elsewhere") {
    const std::string entry =
        object_yaml("networking.istio.io/v1", "ServiceEntry",
                    "name: se, namespace: ns1, labels: {istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra}",
                    "spec: {hosts: [h.example], resolution: DNS}");
    const std::string infra = gateway("wp", "10.1.1.1", "infra", "", ", allowedRoutes: {namespaces: {from: All}}");
    CHECK(clean(entry + infra).service("ns1/h.example").contains("waypoint"));
    Settings settings;
    settings.service_entries = Settings::Visibility::Namespace;
    CHECK_FALSE(clean(entry + infra, settings).service("ns1/h.example").contains("waypoint"));
}

TEST_CASE("conversion: a waypoint that cannot be used is a warning") {
    const Converted c = clean(Case{.service_labels = "istio.io/use-waypoint: gone"}.yaml());
    REQUIRE(c.problems.warnings().size() == 1);
    CHECK(c.problems.warnings()[0] == "t.yaml:7: Service ns1/s: waypoint 'ns1/gone' is not ready; traffic goes direct");
}
