// SPDX-License-Identifier: Apache-2.0
// WorkloadEntries and endpoints (Kubernetes contract 2.6) as far as no recorded conversion shows it.
#include "tests/agent/cluster/conversion_fixture.h"

using namespace warren::cluster;
using Json = nlohmann::json;

namespace {

const std::string kEntry = "Kubernetes/networking.istio.io/WorkloadEntry/ns1/vm";
const std::string kEndpoint = "Kubernetes/networking.istio.io/ServiceEntry/ns1/se/";

std::string entry(const std::string& spec, const std::string& metadata = "") {
    return object_yaml("networking.istio.io/v1", "WorkloadEntry", "name: vm, namespace: ns1" + metadata, "spec: {" + spec + "}");
}
std::string service_entry(const std::string& spec, const std::string& metadata = "") {
    return object_yaml("networking.istio.io/v1", "ServiceEntry", "name: se, namespace: ns1" + metadata, "spec: {" + spec + "}");
}
std::string selecting_policy(const std::string& labels) {
    return object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: p, namespace: ns1",
                       "spec: {selector: {matchLabels: {" + labels + "}}, rules: [{}]}");
}

}  // namespace

TEST_CASE("conversion: a WorkloadEntry goes by both sets of labels, and those of the object win") {
    const Json w = clean(entry("address: 10.0.0.9, labels: {app: spec, version: v1, networking.istio.io/tunnel: http}",
                               ", labels: {app: meta}, annotations: {istio.io/autoRegistrationGroup: grp}") +
                         selecting_policy("app: meta, version: v1"))
                       .workload(kEntry);
    CHECK(w["canonicalName"] == "meta");
    CHECK(w["canonicalRevision"] == "v1");
    CHECK(w["workloadName"] == "grp");
    CHECK(w["nativeTunnel"] == true);
    CHECK(w["authorizationPolicies"] == Json({"ns1/p"}));
    CHECK_FALSE(w.contains("status"));  // nobody watches its health
    CHECK(clean(entry("address: a.example", ", labels: {service.istio.io/workload-name: mine}")).workload(kEntry)["workloadName"] ==
          "mine");
}

// The reference takes both: what is in another network is reached through that network's gateway.
TEST_CASE("conversion: an entry of another network needs no address") {
    const Json w = clean(entry("network: n2, labels: {app: vm}, serviceAccount: sa")).workload(kEntry);
    CHECK(w["network"] == "n2");
    CHECK(w["serviceAccount"] == "sa");
    CHECK_FALSE(w.contains("addresses"));
    CHECK_FALSE(w.contains("hostname"));
    const Converted c =
        clean(service_entry("hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "
                            "endpoints: [{address: 10.0.0.1}, {network: n2}]"));
    CHECK(c.workload(kEndpoint)["network"] == "n2");
    CHECK(c.workload(kEndpoint)["services"].contains("ns1/a.example"));
    CHECK(converted(entry("labels: {app: vm}")).problems.errors() ==
          std::vector<std::string>{"t.yaml:5: spec: address is missing; give an address or a host name, or the network that it is in"});
}

// The API takes unix://PATH, and the reference makes a host name of it. The endpoints beside it, and the service, are not to be lost.
TEST_CASE("conversion: a socket for an address is a name that nobody resolves, and a warning") {
    const Converted c = clean(entry("address: 'unix:///run/a'") +
                              service_entry("hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "
                                            "endpoints: [{address: 10.0.0.1}, {address: 'unix:///run/b'}]"));
    CHECK(c.workload(kEntry)["hostname"] == "unix:///run/a");
    CHECK_FALSE(c.workload(kEntry).contains("addresses"));
    CHECK(c.workload(kEndpoint + "unix:///run/b")["hostname"] == "unix:///run/b");
    CHECK(c.workload(kEndpoint + "10.0.0.1")["services"].contains("ns1/a.example"));
    REQUIRE(c.problems.warnings().size() == 2);
    CHECK(c.problems.warnings()[0] ==
          "t.yaml:5: spec.address: 'unix:///run/a' is a socket of one machine, which node proxies cannot reach; give an address or a host "
          "name");
    CHECK(converted(entry("address: 10.0.0.0/8")).problems.errors().size() == 1);
}

TEST_CASE("conversion: ports of entries") {
    const auto service = [](const std::string& target) {
        return object_yaml(
            "v1", "Service", "name: s, namespace: ns1",
            "spec: {clusterIP: 10.96.0.1, selector: {app: vm}, ports: [{name: http, port: 80, targetPort: " + target + "}]}");
    };
    const auto ports = [&](const std::string& target, const std::string& own) {
        return clean(entry("address: 10.0.0.9, labels: {app: vm}, ports: {" + own + "}") + service(target))
            .workload(kEntry)["services"]["ns1/s.ns1.svc.cluster.local"]
            .value("ports", Json());
    };
    CHECK(ports("web", "web: 9090, http: 1") == Json::parse(R"([{"servicePort":80,"targetPort":9090}])"));
    CHECK(ports("web", "http: 1").is_null());  // the named port is what was asked for
    CHECK(ports("8080", "http: 9091") == Json::parse(R"([{"servicePort":80,"targetPort":9091}])"));
    CHECK(ports("8080", "x: 1") == Json::parse(R"([{"servicePort":80,"targetPort":8080}])"));
    const std::string se = service_entry(
        "hosts: [h.example], resolution: STATIC, workloadSelector: {labels: {app: vm}}, "
        "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 81}, {number: 82, name: x, protocol: TCP}]");
    CHECK(clean(entry("address: 10.0.0.9, labels: {app: vm}, ports: {http: 7}") + se)
              .workload(kEntry)["services"]["ns1/h.example"]["ports"] ==
          Json::parse(R"([{"servicePort":80,"targetPort":7},{"servicePort":82,"targetPort":82}])"));
}

TEST_CASE("conversion: endpoints of a ServiceEntry") {
    const Converted c =
        clean(service_entry(
                  "hosts: [a.example, b.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "
                  "endpoints: [{address: 10.0.0.1, labels: {app: endpoint}}, "
                  "{address: 10.0.0.2, network: n2, ports: {http: 81}, serviceAccount: sa, weight: 3, locality: r/z}, {address: 10.0.0.3}]",
                  ", labels: {app: entry}, annotations: {ambient.istio.io/redirection: enabled}") +
              selecting_policy("app: entry"));
    const Json first = c.workload(kEndpoint + "10.0.0.1"), second = c.workload(kEndpoint + "10.0.0.2"),
               third = c.workload(kEndpoint + "10.0.0.3");
    CHECK(first["canonicalName"] == "entry");  // labels of the entry, not of the endpoint
    CHECK(first["authorizationPolicies"] == Json({"ns1/p"}));
    CHECK(first["tunnelProtocol"] == "HBONE");
    CHECK(first["services"].size() == 2);
    CHECK_FALSE(first.contains("network"));
    CHECK(second["network"] == "n2");
    CHECK(second["capacity"] == 3);
    CHECK(second["locality"] == Json({{"region", "r"}, {"zone", "z"}}));
    CHECK(second["serviceAccount"] == "sa");
    CHECK(second["services"]["ns1/a.example"]["ports"] == Json::parse(R"([{"servicePort":80,"targetPort":81}])"));
    CHECK(third["network"] == "n2");  // carried over, as with the reference
}

TEST_CASE("conversion: of endpoints with one address the last counts") {
    const Converted c =
        clean(service_entry("hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "
                            "endpoints: [{address: 10.0.0.1, weight: 1}, {address: 10.0.0.2}, {address: 10.0.0.1, ports: {http: 81}}]"));
    CHECK(c.outputs.workloads.size() == 2);
    const Json w = c.workload(kEndpoint + "10.0.0.1");
    CHECK_FALSE(w.contains("capacity"));
    CHECK(w["services"]["ns1/a.example"]["ports"] == Json::parse(R"([{"servicePort":80,"targetPort":81}])"));
    REQUIRE(c.problems.warnings().size() == 1);
    CHECK(c.problems.warnings()[0].find("is there twice; the last counts") != std::string::npos);
}

TEST_CASE("conversion: names to be resolved are endpoints themselves") {
    const auto count = [](const std::string& spec) {
        return clean(service_entry("hosts: [a.example, b.example], " + spec)).outputs.workloads.size();
    };
    for (const char* resolution : {"DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"}) {
        const Converted c = clean(service_entry("hosts: [a.example, b.example], resolution: " + std::string(resolution)));
        const Json a = c.workload(kEndpoint + "a.example");
        CHECK(a["hostname"] == "a.example");
        CHECK(a["services"].size() == 1);
        CHECK(a["services"].contains("ns1/a.example"));
    }
    CHECK(count("resolution: STATIC") == 0);
    CHECK(count("resolution: NONE") == 0);
    CHECK(count("resolution: DNS, workloadSelector: {labels: {a: b}}") == 0);
}

TEST_CASE("conversion: endpoints of a slice that are not pods") {
    const std::string service = object_yaml("v1", "Service", "name: man, namespace: ns1",
                                            "spec: {clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81}]}");
    const auto slice = [](const std::string& labels, const std::string& rest) {
        return object_yaml("discovery.k8s.io/v1", "EndpointSlice", "name: sl, namespace: ns1, labels: {" + labels + "}", rest);
    };
    const std::string uid = "Kubernetes/discovery.k8s.io/EndpointSlice/ns1/sl/";
    const std::string of_man = "kubernetes.io/service-name: man";
    const Converted c = clean(service + slice(of_man,
                                              "addressType: IPv4\nports: [{name: b, port: 9}, {name: a, port: 8, protocol: UDP}, "
                                              "{name: c, port: 7}]\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}, "
                                              "{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: null}}]"));
    CHECK(c.outputs.workloads.size() == 2);
    const Json one = c.workload(uid + "10.0.0.1");
    CHECK(one["status"] == "UNHEALTHY");
    CHECK(one["services"]["ns1/man.ns1.svc.cluster.local"]["ports"] == Json::parse(R"([{"servicePort":81,"targetPort":9}])"));
    CHECK_FALSE(one.contains("workloadType"));
    CHECK_FALSE(c.workload(uid + "10.0.0.2").contains("status"));
    const Converted kinds = clean(service + slice(of_man,
                                                  "endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p, namespace: ns1}}, "
                                                  "{addresses: [10.0.0.2], targetRef: {kind: Node, name: n1}, nodeName: n1, "
                                                  "conditions: {ready: true, serving: false, terminating: true}}, {addresses: []}]"));
    CHECK(kinds.outputs.workloads.size() == 1);
    const Json node = kinds.workload(uid + "10.0.0.2");  // serving and terminating say nothing; of its node nothing is known
    CHECK(node["networkMode"] == "HOST_NETWORK");
    for (const char* absent : {"status", "node", "locality", "authorizationPolicies", "serviceAccount", "workloadName", "canonicalName"})
        CHECK_FALSE(node.contains(absent));
    CHECK(clean(service + slice("a: b", "endpoints: [{addresses: [10.0.0.1]}]")).outputs.workloads.empty());
    CHECK(clean(service + slice(of_man, "addressType: FQDN\nendpoints: [{addresses: [a.example]}]")).outputs.workloads.empty());
    CHECK(clean(slice(of_man, "endpoints: [{addresses: [10.0.0.1]}]")).outputs.workloads.empty());  // of no service we know
}
