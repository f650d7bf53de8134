// SPDX-License-Identifier: Apache-2.0
// Pods (Kubernetes contract 2.3 to 2.5) as far as no recorded conversion shows it.
#include "tests/agent/cluster/conversion_fixture.h"

using namespace warren::cluster;
using Json = nlohmann::json;

namespace {

Json pod(const std::string& metadata, const std::string& spec = "nodeName: n1",
         const std::string& status = "phase: Running, podIP: 10.0.0.1") {
    return clean(pod_yaml("ns1", "web-1", metadata, spec, status)).pod("ns1/web-1");
}

std::string name_of(const std::string& kind, const std::string& owner, const std::string& labels,
                    const std::string& more = "generateName: x-") {
    return pod("labels: {" + labels + "}, ownerReferences: [{kind: " + kind + ", name: " + owner + ", controller: true}], " +
               more)["workloadName"];
}

std::string service(const std::string& name, const std::string& spec) {
    return object_yaml("v1", "Service", "name: " + name + ", namespace: ns1", "spec: {clusterIP: 10.96.0.1, " + spec + "}");
}

}  // namespace

TEST_CASE("conversion: the name of a pod's workload") {
    CHECK(name_of("ReplicaSet", "web-5d4f", "pod-template-hash: 5d4f") == "web");
    CHECK(name_of("ReplicaSet", "web-5d4f", "pod-template-hash: other") == "web-5d4f");
    CHECK(name_of("ReplicaSet", "web-77", "rollouts-pod-template-hash: '77'") == "web");
    CHECK(name_of("ReplicaSet", "5d4f", "pod-template-hash: 5d4f") == "5d4f");
    CHECK(name_of("ReplicationController", "dc-1", "deploymentconfig: dc") == "dc");
    CHECK(name_of("ReplicationController", "rc", "a: b") == "rc");
    CHECK(name_of("Job", "backup-28451234", "a: b") == "backup");
    CHECK(name_of("Job", "backup-1234567", "a: b") == "backup-1234567");
    CHECK(name_of("Job", "backup-12345678901", "a: b") == "backup-12345678901");
    CHECK(name_of("StatefulSet", "db", "a: b") == "db");
    CHECK(name_of("StatefulSet", "db", "a: b", "uid: x") == "web-1");  // without generateName
    CHECK(name_of("StatefulSet", "db", "service.istio.io/workload-name: mine") == "mine");
    CHECK(pod("generateName: x-, ownerReferences: [{kind: ReplicaSet, name: rs}]")["workloadName"] == "web-1");  // no controller
}

TEST_CASE("conversion: canonical names and revisions") {
    CHECK(pod("labels: {app.kubernetes.io/name: k, app: a}")["canonicalName"] == "k");
    CHECK(pod("labels: {service.istio.io/canonical-name: '', app: a}")["canonicalName"] == "a");
    CHECK(pod("labels: {x: y}")["canonicalName"] == "web-1");
    CHECK(pod("labels: {app.kubernetes.io/version: v1, version: v2}")["canonicalRevision"] == "v1");
}

TEST_CASE("conversion: which pods there are, and how they do") {
    CHECK(pod("labels: {a: b}", "nodeName: n1",
              "phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], podIP: 10.0.0.1")["addresses"] == Json({"10.0.0.1", "fd00::1"}));
    CHECK(pod("labels: {a: b}", "nodeName: n1", "phase: Failed, podIP: 10.0.0.1").is_null());
    CHECK(pod("labels: {a: b}", "nodeName: n1", "phase: Running").is_null());
    CHECK(pod("deletionTimestamp: \"2024-01-01T00:00:00Z\"")["status"] == "UNHEALTHY");
    CHECK_FALSE(pod("labels: {a: b}").contains("status"));
    CHECK_FALSE(pod("labels: {a: b}").contains("tunnelProtocol"));
    CHECK_FALSE(pod("annotations: {ambient.istio.io/redirection: pending}").contains("tunnelProtocol"));
    const Json native = pod("labels: {networking.istio.io/tunnel: 'x,http'}");
    CHECK(native["tunnelProtocol"] == "HBONE");
    CHECK(native["nativeTunnel"] == true);
    CHECK_FALSE(pod("labels: {networking.istio.io/tunnel: httpx}").contains("nativeTunnel"));
    const std::string bare = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus: {podIP: 10.0.0.9}\n";
    const Json defaults = clean(bare).pod("default/p");
    CHECK(defaults["serviceAccount"] == "default");
    CHECK(defaults["status"] == "UNHEALTHY");
    const auto account = [](const std::string& spec) {
        return clean("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {" + spec + "}\nstatus: {podIP: 10.0.0.9}\n")
            .pod("default/p")["serviceAccount"];
    };
    CHECK(account("serviceAccount: old") == "old");  // the field's old name, which the API server takes too
    CHECK(account("serviceAccount: old, serviceAccountName: web") == "web");
}

TEST_CASE("conversion: settings, the local network and the ways into others") {
    Settings settings;
    settings.cluster_id = "c1";
    settings.trust_domain = "td.example";
    settings.cluster_domain = "k8s.example";
    const std::string system = object_yaml("v1", "Namespace", "name: istio-system, labels: {topology.istio.io/network: net1}", "");
    const std::string gateway = object_yaml(
        "gateway.networking.k8s.io/v1", "Gateway", "name: ew, namespace: gws, labels: {topology.istio.io/network: net1}",
        "spec: {gatewayClassName: istio-remote, listeners: [{name: x, port: 15008, protocol: HBONE}], addresses: [{value: 192.0.2.1}]}");
    const std::string web = service("web", "selector: {app: web}, ports: [{port: 80}]");
    Converted c = clean(pod_yaml("ns1", "web-1") + web + system + gateway, settings);
    const Json p = c.workload("c1//Pod/ns1/web-1");
    CHECK(p["clusterId"] == "c1");
    CHECK(p["trustDomain"] == "td.example");
    CHECK(p["network"] == "net1");
    CHECK(p["networkGateway"] == Json({{"address", {{"network", "net1"}, {"address", "192.0.2.1"}}}, {"hboneMtlsPort", 15008}}));
    CHECK(c.service("ns1/web.ns1.svc.k8s.example")["addresses"][0] == Json({{"network", "net1"}, {"address", "10.96.0.1"}}));
    CHECK(p["services"]["ns1/web.ns1.svc.k8s.example"]["ports"] == Json({{{"servicePort", 80}, {"targetPort", 80}}}));
    const Json way = c.workload("NetworkGateway/net1/192.0.2.1/15008");
    CHECK(way["namespace"] == "gws");
    CHECK(way["serviceAccount"] == "ew-istio-remote");
    CHECK(way["network"] == "net1");
    const std::string unassigned =
        object_yaml("gateway.networking.k8s.io/v1", "Gateway", "name: aa, namespace: gws, labels: {topology.istio.io/network: net1}",
                    "spec: {gatewayClassName: istio-remote, listeners: [{name: x, port: 15008, protocol: HBONE}], "
                    "addresses: [{type: Hostname}]}");
    c = clean(pod_yaml("ns1", "web-1") + system + unassigned, settings);
    CHECK(c.outputs.workloads.size() == 1);
    CHECK_FALSE(c.workload("c1//Pod/ns1/web-1").contains("networkGateway"));
    settings.network = "other";
    CHECK(clean(pod_yaml("ns1", "web-1") + system, settings).workload("c1//Pod/ns1/web-1")["network"] == "other");
}

TEST_CASE("conversion: namespaces that are not discovered do not count") {
    Settings settings;
    settings.discovery.push_back({{{"mesh", "yes"}}, {}});
    const std::string in = object_yaml("v1", "Namespace", "name: ns1, labels: {mesh: 'yes'}", "");
    const Converted c = clean(pod_yaml("ns1", "web-1") + pod_yaml("ns2", "web-1") + in, settings);
    CHECK(c.outputs.workloads.size() == 1);
    CHECK(c.pod("ns1/web-1").is_object());
}

TEST_CASE("conversion: locality comes from the node") {
    const std::string node =
        object_yaml("v1", "Node", "name: n1, labels: {topology.kubernetes.io/zone: z, topology.istio.io/subzone: s}", "");
    CHECK(clean(pod_yaml("ns1", "web-1") + node).pod("ns1/web-1")["locality"] == Json({{"zone", "z"}, {"subzone", "s"}}));
}

TEST_CASE("conversion: ports of a pod in its services") {
    const std::string sidecar =
        "nodeName: n1, initContainers: [{name: i, restartPolicy: Always, ports: [{containerPort: 7070, name: side}]}, "
        "{name: j, ports: [{containerPort: 6060, name: once}]}]";
    const auto ports = [&](const std::string& spec) {
        const Converted c =
            clean(pod_yaml("ns1", "web-1", "labels: {app: web}", sidecar) + service("web", "selector: {app: web}, " + spec));
        return c.pod("ns1/web-1")["services"]["ns1/web.ns1.svc.cluster.local"];
    };
    CHECK(ports("ports: [{port: 1, targetPort: http}, {port: 2, targetPort: side}]")["ports"] ==
          Json::parse(R"([{"servicePort":1,"targetPort":8080},{"servicePort":2,"targetPort":7070}])"));
    CHECK(ports("ports: [{port: 1, targetPort: once}, {port: 2, targetPort: '81'}]")["ports"] ==
          Json::parse(R"([{"servicePort":2,"targetPort":81}])"));
    CHECK(ports("ports: [{port: 1, targetPort: missing}]") == Json::object());  // a member without ports
}

// A port is known by its number alone: of two transports with one number the last names the target, for both, as with the reference.
TEST_CASE("conversion: one port number for two transports") {
    const std::string dns =
        "nodeName: n1, initContainers: [{name: i, restartPolicy: Always, ports: [{containerPort: 5353, name: dns, "
        "protocol: UDP}, {containerPort: 5354, name: dns-tcp}]}]";
    const auto ports = [&](const std::string& list) {
        return clean(pod_yaml("ns1", "web-1", "labels: {app: web}", dns) + service("web", "selector: {app: web}, ports: [" + list + "]"))
            .pod("ns1/web-1")["services"]["ns1/web.ns1.svc.cluster.local"];
    };
    const std::string udp = "{name: a, port: 53, protocol: UDP, targetPort: dns}";
    const std::string tcp = "{name: b, port: 53, protocol: TCP, targetPort: dns-tcp}";
    CHECK(ports(udp + ", " + tcp)["ports"] ==
          Json::parse(R"([{"servicePort":53,"targetPort":5354},{"servicePort":53,"targetPort":5354}])"));
    CHECK(ports(tcp + ", " + udp) == Json::object());  // a container's UDP port is the target of nothing
    CHECK(ports("{name: a, port: 53, protocol: UDP, targetPort: 5353}, {name: b, port: 54}")["ports"] ==
          Json::parse(R"([{"servicePort":53,"targetPort":5353},{"servicePort":54,"targetPort":54}])"));
}

TEST_CASE("conversion: ways into other networks by host name, and who answers there") {
    const auto way = [](const std::string& annotations, const std::string& listener) {
        return clean(
            object_yaml(
                "gateway.networking.k8s.io/v1", "Gateway",
                "name: ew, namespace: gws, labels: {topology.istio.io/network: n2}, annotations: {" + annotations + "}",
                "spec: {gatewayClassName: istio-remote, listeners: [" + listener + "], addresses: [{type: Hostname, value: ew.example}]}") +
            object_yaml("networking.istio.io/v1", "WorkloadEntry", "name: vm, namespace: ns1", "spec: {address: 10.0.0.9, network: n2}") +
            pod_yaml("ns1", "web-1", "labels: {topology.istio.io/network: n2}"));
    };
    const Converted c = way("gateway.istio.io/service-account: gate",
                            "{name: h, port: 443, protocol: HTTPS}, "
                            "{name: x, port: 15010, protocol: HBONE}");
    const Json gateway = c.workload("NetworkGateway/n2/ew.example/15010");
    CHECK(gateway["name"] == "NetworkGateway/n2/ew.example/15010");
    CHECK(gateway["hostname"] == "ew.example");
    CHECK(gateway["serviceAccount"] == "gate");
    CHECK_FALSE(gateway.contains("addresses"));
    CHECK(c.workload("Kubernetes/networking.istio.io/WorkloadEntry/ns1/vm")["networkGateway"] ==
          Json::parse(R"({"hboneMtlsPort":15010,"hostname":{"namespace":"gws","hostname":"ew.example"}})"));
    CHECK_FALSE(c.pod("ns1/web-1").contains("network"));  // a pod's label says nothing
    CHECK_FALSE(c.pod("ns1/web-1").contains("networkGateway"));
    CHECK(way("a: b", "{name: h, port: 443, protocol: HTTPS}").outputs.workloads.size() == 2);
}

TEST_CASE("conversion: which services a pod is in") {
    const auto slice = [](const std::string& target) {
        return object_yaml(
            "discovery.k8s.io/v1", "EndpointSlice", "name: man-1, namespace: ns1, labels: {kubernetes.io/service-name: man}",
            "addressType: IPv4\nports: [{name: http, port: 9}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {" + target + "}}]");
    };
    const std::string web = pod_yaml("ns1", "web-1", "labels: {app: web}, uid: u1");
    const std::string man = service("man", "ports: [{name: http, port: 80, targetPort: 8080}]");
    const auto services = [&](const std::string& objects) {
        return clean(web + objects).pod("ns1/web-1").value("services", Json::object());
    };
    CHECK(services(service("all", "ports: [{port: 80}]")).empty());  // without a selector: not by labels
    CHECK(services(service("x", "selector: {app: web, a: b}, ports: [{port: 80}]")).empty());
    CHECK(services(service("x", "type: ExternalName, externalName: e, selector: {app: web}, ports: [{port: 80}]")).empty());
    CHECK(services(object_yaml("v1", "Service", "name: x, namespace: ns2", "spec: {selector: {app: web}, ports: [{port: 80}]}")).empty());
    const Json listed = services(man + slice("kind: Pod, name: web-1, namespace: ns1, uid: u1"));
    CHECK(listed["ns1/man.ns1.svc.cluster.local"]["ports"] == Json::parse(R"([{"servicePort":80,"targetPort":8080}])"));
    CHECK(services(man + slice("kind: Pod, name: web-1, namespace: ns1, uid: u2")).empty());  // another pod of that name
    CHECK(services(man + slice("kind: Pod, name: web-1, namespace: ns1")).empty());
    CHECK(clean(web + man + slice("kind: Pod, name: web-1, namespace: ns1, uid: u1")).outputs.workloads.size() == 1);
    const std::string named = object_yaml("networking.istio.io/v1", "ServiceEntry", "name: se, namespace: ns1",
                                          "spec: {hosts: [h.example], resolution: STATIC, workloadSelector: {labels: {app: web}}, "
                                          "ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: other, protocol: TCP}]}");
    CHECK(services(named)["ns1/h.example"]["ports"] ==
          Json::parse(R"([{"servicePort":80,"targetPort":8080},{"servicePort":81,"targetPort":81}])"));
}
