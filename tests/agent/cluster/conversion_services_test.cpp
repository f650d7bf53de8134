// SPDX-License-Identifier: Apache-2.0
// Services and ServiceEntries as services (Kubernetes contract 2.7, 2.8) as far as no recorded conversion shows it.
#include "tests/agent/cluster/conversion_fixture.h"

using namespace warren::cluster;
using Json = nlohmann::json;

namespace {

Json service(const std::string& spec, const std::string& metadata = "", const std::string& more = "") {
    return clean(object_yaml("v1", "Service", "name: s, namespace: ns1" + metadata, "spec: {" + spec + "}") + more)
        .service("ns1/s.ns1.svc.cluster.local");
}

std::string entry_yaml(const std::string& name, const std::string& ns, const std::string& spec, const std::string& metadata = "",
                       const std::string& more = "") {
    return object_yaml("networking.istio.io/v1", "ServiceEntry", "name: " + name + ", namespace: " + ns + metadata,
                       "spec: {" + spec + "}\n" + more);
}

std::string namespace_yaml(const std::string& annotations) {
    return object_yaml("v1", "Namespace", "name: ns1, annotations: {" + annotations + "}", "");
}

std::string protocol(const std::string& port) {
    return service("clusterIP: 10.96.0.1, ports: [{" + port + "}]")["ports"][0].value("appProtocol", "-");
}

const std::string kZone = R"({"mode":"FAILOVER","routingPreference":["NETWORK","REGION","ZONE"]})";
const std::string kNode = R"({"mode":"FAILOVER","routingPreference":["NETWORK","REGION","ZONE","SUBZONE","NODE"]})";
const std::string kBase = "clusterIP: 10.96.0.1, ports: [{port: 80}]";

}  // namespace

TEST_CASE("conversion: addresses and families of services") {
    const Json dual = service("clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], ports: [{port: 80}]");
    CHECK(dual["addresses"] == Json::parse(R"([{"address":"10.96.0.1"},{"address":"fd00::1"}])"));
    CHECK(dual["ipFamilies"] == "DUAL");
    CHECK(service("clusterIP: 'fd00::1'")["ipFamilies"] == "IPV6_ONLY");
    CHECK(service("clusterIP: None, selector: {a: b}, ipFamilies: [IPv6]")["ipFamilies"] == "IPV6_ONLY");
    const Json headless = service("clusterIP: None, selector: {a: b}, ports: [{port: 80}]");
    CHECK_FALSE(headless.contains("addresses"));
    CHECK(headless["ipFamilies"] == "IPV4_ONLY");
    CHECK(service("clusterIP: None")["ipFamilies"] == "DUAL");     // as the API server has it for one without a selector
    const std::string open = "clusterIP: None, ipFamilyPolicy: ";  // without a selector it is up to the policy
    CHECK(service(open + "PreferDualStack")["ipFamilies"] == "DUAL");
    CHECK(service(open + "RequireDualStack")["ipFamilies"] == "DUAL");
    CHECK(service(open + "SingleStack")["ipFamilies"] == "IPV4_ONLY");
    CHECK(service(open + "SingleStack, ipFamilies: [IPv6]")["ipFamilies"] == "IPV6_ONLY");
    CHECK(service("clusterIP: None, ipFamilies: [IPv6]")["ipFamilies"] == "DUAL");
    CHECK(service(open + "PreferDualStack, selector: {a: b}")["ipFamilies"] == "IPV4_ONLY");
    CHECK_FALSE(service("ports: [{port: 80}]").contains("ipFamilies"));
    CHECK(service(kBase + ", externalIPs: [203.0.113.1], type: NodePort")["addresses"].size() == 1);
}

TEST_CASE("conversion: a target port left open is the port itself, as the API server has it") {
    const auto ports = service(
        "clusterIP: 10.96.0.1, ports: [{name: a, port: 80}, {name: b, port: 81, targetPort: 0}, "
        "{name: c, port: 82, targetPort: ''}, {name: d, port: 83, targetPort: web}]")["ports"];
    CHECK(ports == Json::parse(R"([{"servicePort":80,"targetPort":80},{"servicePort":81,"targetPort":81},
                                   {"servicePort":82,"targetPort":82},{"servicePort":83}])"));
}

TEST_CASE("conversion: where services prefer their endpoints") {
    const auto lb = [](const std::string& spec, const std::string& annotation = "", const std::string& of_namespace = "") {
        const std::string key = "networking.istio.io/traffic-distribution: ";
        return service(spec, annotation.empty() ? "" : ", annotations: {" + key + annotation + "}",
                       of_namespace.empty() ? "" : namespace_yaml(key + of_namespace))
            .value("loadBalancing", Json());
    };
    const Json zone = Json::parse(kZone), node = Json::parse(kNode);
    CHECK(lb(kBase).is_null());
    CHECK(lb(kBase + ", trafficDistribution: PreferSameZone") == zone);
    CHECK(lb(kBase + ", trafficDistribution: PreferSameNode", "PreferClose") == node);
    CHECK(lb(kBase + ", trafficDistribution: prefersamenode", "preferclose") == zone);  // the field minds case, the annotation does not
    CHECK(lb(kBase, "PREFERSAMENODE") == node);
    CHECK(lb(kBase, "Whatever", "PreferClose").is_null());  // an unknown annotation ends the search
    CHECK(lb(kBase, "", "PreferSameNode") == node);
    CHECK(lb(kBase + ", internalTrafficPolicy: Local, trafficDistribution: PreferClose") ==
          Json::parse(R"({"mode":"STRICT","routingPreference":["NODE"]})"));
    CHECK(lb(kBase + ", publishNotReadyAddresses: true, trafficDistribution: PreferClose") ==
          Json::parse(R"({"healthPolicy":"ALLOW_ALL","mode":"FAILOVER","routingPreference":["NETWORK","REGION","ZONE"]})"));
}

TEST_CASE("conversion: what a port speaks") {
    CHECK(protocol("port: 80, name: http-web") == "HTTP11");
    CHECK(protocol("port: 80, name: HTTP2") == "HTTP2");
    CHECK(protocol("port: 80, name: grpc-x") == "GRPC");
    CHECK(protocol("port: 80, name: grpc-web") == "-");
    CHECK(protocol("port: 80, name: grpc-web-x") == "-");
    CHECK(protocol("port: 80, name: tcp-db") == "TCP");
    CHECK(protocol("port: 443, name: https") == "TLS");
    CHECK(protocol("port: 443, name: tls-x") == "TLS");
    CHECK(protocol("port: 3306, name: mysql") == "-");
    CHECK(protocol("port: 3306, name: db") == "TCP");
    CHECK(protocol("port: 25") == "TCP");
    CHECK(protocol("port: 53, protocol: UDP, name: dns") == "-");
    CHECK(protocol("port: 53, protocol: TCP, name: dns-tcp") == "TCP");
    CHECK(protocol("port: 80, name: db") == "-");
    CHECK(protocol("port: 80, name: tcp, appProtocol: http") == "HTTP11");
    CHECK(protocol("port: 80, name: http, appProtocol: mine.example/x") == "-");
    CHECK(protocol("port: 80, appProtocol: kubernetes.io/h2c") == "HTTP2");
    CHECK(protocol("port: 80, appProtocol: kubernetes.io/ws") == "HTTP11");
    CHECK(protocol("port: 80, appProtocol: kubernetes.io/wss") == "TLS");
    CHECK(service("clusterIP: 10.96.0.1, ports: [{port: 53, protocol: UDP, targetPort: 5353}]")["ports"] ==
          Json::parse(R"([{"servicePort":53,"targetPort":5353}])"));
}

TEST_CASE("conversion: a ServiceEntry is a service for each host") {
    const Converted c =
        clean(entry_yaml("se", "ns1",
                         "hosts: [a.example, b.example], addresses: [10.0.0.0/8, 10.9.9.9/32, 192.0.2.1], resolution: STATIC, "
                         "ports: [{number: 443, name: x, protocol: HTTPS, targetPort: 8443}], "
                         "subjectAltNames: [spiffe://td/ns/a/sa/b]",
                         ", annotations: {networking.istio.io/traffic-distribution: PreferClose}"));
    const Json a = c.service("ns1/a.example");
    CHECK(a["addresses"] == Json::parse(R"([{"address":"10.0.0.0","length":8},{"address":"10.9.9.9"},{"address":"192.0.2.1"}])"));
    CHECK(a["ports"] == Json::parse(R"([{"servicePort":443,"targetPort":8443,"appProtocol":"TLS"}])"));
    CHECK(a["subjectAltNames"] == Json({"spiffe://td/ns/a/sa/b"}));
    CHECK(a["loadBalancing"] == Json::parse(kZone));
    CHECK(a["canonical"] == true);
    CHECK_FALSE(a.contains("ipFamilies"));
    CHECK(c.service("ns1/b.example")["hostname"] == "b.example");
}

TEST_CASE("conversion: addresses allocated to a ServiceEntry") {
    const std::string status = "status: {addresses: [{host: a.example, value: 240.240.0.1}, {host: '*.b.example', value: 240.240.0.2}]}";
    const auto addresses = [&](const std::string& spec, const std::string& host, const std::string& metadata = "") {
        return clean(entry_yaml("se", "ns1", "hosts: ['" + host + "'], " + spec, metadata, status))
            .service("ns1/" + host)
            .value("addresses", Json());
    };
    CHECK(addresses("resolution: DNS", "a.example") == Json::parse(R"([{"address":"240.240.0.1"}])"));
    CHECK(addresses("resolution: NONE", "a.example").is_null());
    CHECK(addresses("resolution: DNS", "*.b.example").is_null());
    CHECK(addresses("resolution: DYNAMIC_DNS", "*.b.example") == Json::parse(R"([{"address":"240.240.0.2"}])"));
    CHECK(addresses("resolution: DNS", "a.example", ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}").is_null());
    CHECK(addresses("resolution: DNS, addresses: [10.0.0.1]", "a.example") == Json::parse(R"([{"address":"10.0.0.1"}])"));
}

TEST_CASE("conversion: one hostname, several owners") {
    const std::string kube = object_yaml("v1", "Service", "name: s, namespace: ns1", "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}");
    const std::string host = "s.ns1.svc.cluster.local";
    const auto dated = [&](const std::string& name, const std::string& ns, const std::string& of, const std::string& year) {
        return entry_yaml(name, ns, "hosts: [" + of + "], resolution: DNS", ", creationTimestamp: \"" + year + "-01-01T00:00:00Z\"");
    };
    Converted c = clean(kube + dated("se", "ns1", host, "2020") + dated("far", "ns2", host, "2020"));
    CHECK(c.service("ns1/" + host)["name"] == "s");  // a Service beats entries of its namespace
    CHECK(c.service("ns1/" + host)["canonical"] == true);
    CHECK_FALSE(c.service("ns2/" + host).contains("canonical"));
    c = clean(dated("young", "ns1", "h.example", "2022") + dated("old", "ns1", "h.example", "2021") +
              dated("oldest", "ns2", "h.example", "2020"));
    CHECK(c.service("ns1/h.example")["name"] == "old");
    CHECK_FALSE(c.service("ns1/h.example").contains("canonical"));
    CHECK(c.service("ns2/h.example")["canonical"] == true);
    CHECK(c.outputs.workloads.size() == 2);  // the entry that lost its host has no endpoint either
}

TEST_CASE("conversion: who sees ServiceEntries is a setting") {
    const std::string entry = entry_yaml("se", "ns1", "hosts: [h.example], resolution: DNS");
    Settings settings;
    settings.service_entries = Settings::Visibility::Namespace;
    const Json own = clean(entry, settings).service("ns1/h.example");
    CHECK(own["visibility"] == "NAMESPACE");
    CHECK_FALSE(own.contains("canonical"));
    settings.service_entries = Settings::Visibility::None;
    const Converted none = clean(entry, settings);
    CHECK(none.outputs.services.empty());
    CHECK(none.outputs.workloads.empty());
}
