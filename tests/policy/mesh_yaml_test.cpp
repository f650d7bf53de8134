// SPDX-License-Identifier: Apache-2.0
#include "policy/mesh_yaml.h"

#include "tests/catch.h"

#include <algorithm>
#include <string>

namespace {

using namespace warren;
using namespace warren::policy;

Batch load(std::string_view text) {
    TextPool pool;
    auto batch = mesh_from_yaml(text, "mesh.yaml", pool);
    INFO((batch ? "" : batch.error().message()));
    REQUIRE(batch);
    return *std::move(batch);
}

// The error, empty when the file was taken.
std::string refused(std::string_view text) {
    TextPool pool;
    const auto batch = mesh_from_yaml(text, "mesh.yaml", pool);
    return batch ? "" : batch.error().message();
}

bool has(const std::string& text, std::string_view part) {
    if (text.find(part) != std::string::npos) return true;
    UNSCOPED_INFO(text);
    return false;
}

// A workload, a service or a policy with `lines` added to what is required, each at the entry's indentation.
std::string workload_with(std::string_view lines) {
    return "workloads:\n- uid: u1\n  namespace: prod\n  workloadIps: [10.0.0.1]\n  services: {}\n" + std::string(lines);
}
std::string service_with(std::string_view lines) {
    return "services:\n- name: web\n  namespace: prod\n  hostname: web.prod.svc\n  vips: [/10.1.0.1]\n  ports: {80: 8080}\n" +
           std::string(lines);
}
std::string policy_with(std::string_view match) {
    return "policies:\n- name: p\n  namespace: prod\n  scope: Namespace\n  action: Allow\n  dryRun: false\n  rules:\n  - - - " +
           std::string(match) + "\n";
}
Match match_of(std::string_view match) {
    const Batch batch = load(policy_with(match));
    return std::get<PolicySpec>(batch.policies.at(0)).rules.at(0).at(0).at(0);
}

// Everything the format has, once.
constexpr const char* kSample = R"(# a local mesh
workloads:
- uid: cluster1//Pod/default/local
  name: local
  namespace: default
  serviceAccount: web
  trustDomain: td
  workloadIps: ["127.0.0.1", "::1"]
  protocol: HBONE
  node: n1
  network: net
  clusterId: cluster1
  status: Unhealthy
  capacity: 0
  hostname: host.example.com
  workloadName: local
  workloadType: pod
  canonicalName: local
  canonicalRevision: latest
  nativeTunnel: true
  networkMode: HostNetwork
  waypoint: {destination: default/wp.example.com, hboneMtlsPort: 15008}
  networkGateway: {destination: "net2/10.9.9.9", hboneMtlsPort: 15009}
  applicationTunnel: {protocol: PROXY, port: 15088}
  authorizationPolicies: [default/deny-9999]
  locality: {region: r, zone: z, subzone: s}
  services:
    default/web.example.com: {80: 8080, 443: 0}
- namespace: default
  uid: tcp
  workloadIps: []
  services: {}
policies:
- name: deny-9999
  namespace: default
  scope: WorkloadSelector
  action: Deny
  dryRun: true
  rules:
  - - - destinationPorts: [9999]
        notPrincipals: [!Presence , !Exact td/ns/default/sa/web]
    - - sourceIps: [10.0.0.0/8, "fd00::/8"]
        namespaces: [{Exact: app}, {Presence: []}, !Prefix "", !Suffix -dev]
      - serviceAccounts: [{namespace: app, serviceAccount: web}]
  - []
services:
- name: web
  namespace: default
  hostname: web.example.com
  vips: [/127.10.0.1]
  ports: {80: 8080, 443: 0}
  cidrVips: [{network: net, cidr: 10.7.0.0/16}]
  endpoints:
    tcp: {workloadUid: tcp, port: {80: 81}, status: Healthy}
  subjectAltNames: [spiffe://td/ns/default/sa/web]
  waypoint: {destination: "/10.9.9.8", hboneMtlsPort: 15008}
  weightedWaypoints: [{destination: {destination: a/b, hboneMtlsPort: 1}, weight: 7}]
  loadBalancer: {routingPreferences: [Network, Region], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: Dual
  canonical: true
  visibility: Namespace
)";

}  // namespace

// -- what is read

TEST_CASE("mesh_yaml: local_client: a workload with everything") {
    const Batch batch = load(kSample);
    REQUIRE(batch.workloads.size() == 2);
    const Workload& w = *batch.workloads[0];
    CHECK(w.uid == "cluster1//Pod/default/local");
    CHECK(w.identity().uri() == "spiffe://td/ns/default/sa/web");
    REQUIRE(w.addresses.size() == 2);
    CHECK(w.addresses[1].to_string() == "::1");
    CHECK(w.tunnel_protocol == TunnelProtocol::Hbone);
    CHECK(w.network_mode == NetworkMode::HostNetwork);
    CHECK(w.status == Health::Unhealthy);
    CHECK(w.type == WorkloadType::Pod);
    CHECK(w.capacity == 0);
    CHECK(w.native_tunnel);
    CHECK(w.locality == Locality{Text("r"), Text("z"), Text("s")});
    REQUIRE(w.waypoint);
    CHECK(*w.waypoint == GatewayAddress{Text("default/wp.example.com"), 15008});
    REQUIRE(w.network_gateway);
    CHECK(*w.network_gateway == GatewayAddress{NetworkAddress{Text("net2"), base::IpAddr::v4(0x0a090909)}, 15009});
    REQUIRE(w.application_tunnel);
    CHECK(*w.application_tunnel == ApplicationTunnel{AppTunnelProtocol::Proxy, 15088});
    CHECK(w.authorization_policies == Array<Text>{Text("default/deny-9999")});
    REQUIRE(w.services.size() == 1);
    CHECK(w.services[0].service == "default/web.example.com");
    CHECK(w.services[0].ports == Array<PortPair>{{80, 8080}, {443, 0}});
}

TEST_CASE("mesh_yaml: local_client: a service with everything") {
    const Batch batch = load(kSample);
    REQUIRE(batch.services.size() == 1);
    const Service& s = *batch.services[0];
    CHECK(s.key == "default/web.example.com");
    CHECK(s.vips == Array<NetworkAddress>{{Text(), base::IpAddr::v4(0x7f0a0001)}});
    CHECK(s.cidr_vips[0].cidr.to_string() == "10.7.0.0/16");
    CHECK(s.ports.size() == 2);
    CHECK(s.subject_alt_names[0].uri() == "spiffe://td/ns/default/sa/web");
    REQUIRE(s.waypoint);
    CHECK(std::get<NetworkAddress>(s.waypoint->destination).to_string() == "/10.9.9.8");
    CHECK(s.weighted_waypoints == Array<WeightedWaypoint>{{GatewayAddress{Text("a/b"), 1}, 7}});
    REQUIRE(s.load_balancing);
    CHECK(s.load_balancing->mode == LbMode::Failover);
    CHECK(s.load_balancing->health_policy == HealthPolicy::AllowAll);
    CHECK(s.load_balancing->routing_preference == Array<LbScope>{LbScope::Network, LbScope::Region});
    CHECK(s.ip_families == IpFamilies::Dual);
    CHECK(s.visibility == Visibility::Namespace);
    CHECK(s.canonical);
}

TEST_CASE("mesh_yaml: local_client: a policy with everything") {
    const Batch batch = load(kSample);
    REQUIRE(batch.policies.size() == 1);
    const auto& p = std::get<PolicySpec>(batch.policies[0]);
    CHECK(p.key == "default/deny-9999");
    CHECK(p.scope == Scope::WorkloadSelector);
    CHECK(p.action == PolicyAction::Deny);
    CHECK(p.dry_run);
    REQUIRE(p.rules.size() == 2);
    CHECK(p.rules[1].empty());
    REQUIRE(p.rules[0].size() == 2);
    REQUIRE(p.rules[0][1].size() == 2);
    const Match& first = p.rules[0][0][0];
    using Kind = StringMatch::Kind;
    CHECK(first.destination_ports.any_of == std::vector<uint16_t>{9999});
    CHECK(first.principals.none_of == std::vector<StringMatch>{{Kind::Presence, Text()}, {Kind::Exact, Text("td/ns/default/sa/web")}});
    const Match& second = p.rules[0][1][0];
    REQUIRE(second.source_ips.any_of.size() == 2);
    CHECK(second.source_ips.any_of[1].to_string() == "fd00::/8");
    CHECK(second.namespaces.any_of ==
          std::vector<StringMatch>{
              {Kind::Exact, Text("app")}, {Kind::Presence, Text()}, {Kind::Prefix, Text()}, {Kind::Suffix, Text("-dev")}});
    CHECK(p.rules[0][1][1].service_accounts.any_of == std::vector<ServiceAccountMatch>{{Text("app"), Text("web")}});
}

TEST_CASE("mesh_yaml: a static endpoint becomes a membership of its workload") {
    const Batch batch = load(kSample);
    const WorkloadService* membership = batch.workloads[1]->membership(Text("default/web.example.com"));
    REQUIRE(membership != nullptr);
    CHECK(membership->ports == Array<PortPair>{{80, 81}});
}

TEST_CASE("mesh_yaml: the defaults of a local workload are not those of the wire") {
    const WorkloadRef ref = load(workload_with("")).workloads[0];
    const Workload& w = *ref;
    CHECK(w.trust_domain.empty());
    CHECK(w.cluster_id.empty());
    CHECK(w.service_account.empty());
    CHECK(w.tunnel_protocol == TunnelProtocol::None);
    CHECK(w.status == Health::Healthy);
    CHECK(w.capacity == 1);
}

TEST_CASE("mesh_yaml: the file of the two-node lab loads") {
    const Batch batch = load(R"(workloads:
- uid: Kubernetes//Pod/default/p1
  name: p1
  namespace: default
  serviceAccount: client
  trustDomain: cluster.local
  workloadIps: ["10.77.1.2"]
  protocol: HBONE
  node: n1
  network: ""
  status: Healthy
  services: {}
- uid: Kubernetes//Pod/default/p2
  name: p2
  namespace: default
  serviceAccount: server
  trustDomain: cluster.local
  workloadIps: ["10.77.2.2"]
  protocol: HBONE
  node: n2
  network: ""
  status: Healthy
  services:
    "default/svcp2.default.svc.cluster.local":
      7000: 7000
services:
- name: svcp2
  namespace: default
  hostname: svcp2.default.svc.cluster.local
  vips: ["/10.77.99.2"]
  ports:
    7000: 7000
)");
    REQUIRE(batch.workloads.size() == 2);
    REQUIRE(batch.services.size() == 1);
    CHECK(batch.workloads[1]->membership(batch.services[0]->key) != nullptr);
    CHECK(batch.workloads[0]->identity().uri() == "spiffe://cluster.local/ns/default/sa/client");
}

TEST_CASE("mesh_yaml: an empty mesh is written as {}, an empty file is a mistake") {
    CHECK(load("{}").workloads.empty());
    CHECK(load("workloads:\npolicies: []\n").policies.empty());
    CHECK(refused("") == "mesh.yaml: empty; write {} for a mesh with nothing in it");
    CHECK(has(refused("# nothing\n"), "empty; write {}"));
    CHECK(has(refused("---\n"), "mesh.yaml:2: is null; give a map"));
    CHECK(has(refused("{}\n---\n{}\n"), "a second document; keep one"));
}

// -- what is refused

TEST_CASE("mesh_yaml: unknown keys are refused with line, path and the keys there are") {
    CHECK(has(refused("workload: []"), "mesh.yaml:1: key: unknown key 'workload'; the keys here are workloads, policies, services"));
    CHECK(has(refused(workload_with("  ip: 1\n")), "mesh.yaml:6: workloads[0] key: unknown key 'ip'; the keys here are uid, name"));
    CHECK(has(refused(service_with("  vip: 1\n")), "services[0] key: unknown key 'vip'"));
    CHECK(has(refused(policy_with("ports: [1]")),
              "policies[0].rules[0][0][0] key: unknown key 'ports'; the keys here are namespaces, notNamespaces"));
    CHECK(has(refused(workload_with("  locality: {rack: 1}\n")), "workloads[0].locality key: unknown key 'rack'"));
}

TEST_CASE("mesh_yaml: required keys") {
    CHECK(has(refused("workloads: [{}]"), "mesh.yaml:1: workloads[0]: key 'namespace' is missing; add it"));
    CHECK(has(refused("workloads: [{namespace: n}]"), "key 'workloadIps' is missing"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: []}]"), "key 'services' is missing"));
    CHECK(has(refused("services: [{name: a, namespace: b, hostname: c, vips: []}]"), "services[0]: key 'ports' is missing"));
    CHECK(has(refused("services: [{name: a, namespace: b, hostname: c, ports: {}}]"), "key 'vips' is missing"));
    for (const char* missing : {"name", "namespace", "scope", "action", "rules", "dryRun"}) {
        std::string text = "policies: [{";
        for (const char* pair : {"name: a", "namespace: b", "scope: Global", "action: Deny", "rules: []", "dryRun: false"})
            if (!std::string_view(pair).starts_with(std::string(missing) + ":")) text.append(pair).append(", ");
        text += "}]";
        CHECK(has(refused(text), std::string("key '") + missing + "' is missing"));
    }
}

TEST_CASE("mesh_yaml: words, numbers and types out of range") {
    CHECK(has(refused(workload_with("  protocol: HTTP\n")),
              "mesh.yaml:6: workloads[0].protocol: unknown value 'HTTP'; give one of TCP, HBONE"));
    CHECK(has(refused(workload_with("  capacity: 4294967296\n")),
              "workloads[0].capacity: '4294967296' is out of range or no number; give a whole number from 0 to 4294967295"));
    CHECK(has(refused(workload_with("  capacity: -1\n")), "capacity: '-1'"));
    CHECK(has(refused(workload_with("  capacity: 010\n")), "capacity: '010'"));
    CHECK(has(refused(workload_with("  capacity: [1]\n")), "capacity: is a list; give a whole number"));
    CHECK(has(refused(workload_with("  nativeTunnel: yes\n")), "nativeTunnel: 'yes' is neither true nor false"));
    CHECK(has(refused(workload_with("  nativeTunnel: \"true\"\n")), "without quotes"));
    CHECK(has(refused(workload_with("  name:\n")), "workloads[0].name: is null; give a text"));
    CHECK(has(refused(workload_with("  name: !Exact x\n")), "workloads[0].name: unexpected tag '!Exact'; remove it"));
    CHECK(has(refused(workload_with("  authorizationPolicies: x\n")), "authorizationPolicies: is a text; give a list"));
    CHECK(has(refused("workloads: {}"), "workloads: is a map; give a list"));
    CHECK(has(refused("[]"), "mesh.yaml:1: is a list; give a map"));
    CHECK(has(refused("workloads:\n- namespace: n\n  workloadIps: [10.0.0.256]\n  services: {}\n"),
              "mesh.yaml:3: workloads[0].workloadIps[0]: address '10.0.0.256'"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: {a/b: {80: 65536}}}]"),
              "workloads[0].services['a/b'].80: '65536' is out of range"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: {a/b: {x: 80}}}]"),
              "services['a/b'] key: 'x' is out of range or no number"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: {b: {}}}]"), "key: 'b' has no '/'; write namespace/hostname"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: [a/b]}]"), "services: is a list; give a map"));
}

TEST_CASE("mesh_yaml: values of services") {
    CHECK(has(refused("services: [{name: a, namespace: b, hostname: c, vips: [10.0.0.1], ports: {}}]"),
              "vips[0]: '10.0.0.1' has no '/'; write network/ip"));
    CHECK(has(refused("services: [{name: a, namespace: b, hostname: c, vips: [/x], ports: {}}]"), "vips[0]: address 'x'"));
    CHECK(has(refused("services: [{name: a, namespace: b/c, hostname: c, vips: [], ports: {}}]"), "services[0].namespace: contains '/'"));
    CHECK(has(refused(service_with("  cidrVips: [{network: n, cidr: 10.0.0.0/33}]\n")), "cidrVips[0].cidr: prefix '10.0.0.0/33'"));
    CHECK(has(refused(service_with("  subjectAltNames: [web]\n")), "subjectAltNames[0]: SPIFFE identity"));
    CHECK(has(refused(service_with("  waypoint: {destination: wp, hboneMtlsPort: 1}\n")), "waypoint.destination: 'wp' has no '/'"));
    CHECK(has(refused(service_with("  waypoint: {destination: a/wp}\n")), "services[0].waypoint: key 'hboneMtlsPort' is missing"));
    CHECK(has(refused(service_with("  loadBalancer: {mode: Random}\n")),
              "loadBalancer.mode: unknown value 'Random'; give one of Standard, Strict"));
    CHECK(has(refused(service_with("  ipFamilies: IPv5\n")), "ipFamilies: unknown value 'IPv5'; give one of IPv4, IPv6, Dual"));
}

TEST_CASE("mesh_yaml: trap 45: a policy with one bad element refuses the file") {
    CHECK(has(refused(policy_with("sourceIps: [10.0.0.0/8, 10.0.0.0/40]")),
              "mesh.yaml:8: policies[0].rules[0][0][0].sourceIps[1]: prefix '10.0.0.0/40'"));
    CHECK(has(refused(policy_with("notDestinationIps: [10.0.0]")), "notDestinationIps[0]: address '10.0.0'"));
    CHECK(has(refused(policy_with("destinationPorts: [73616]")), "destinationPorts[0]: '73616' is out of range"));
    CHECK(has(refused(policy_with("principals: [web]")),
              "principals[0]: no kind of match; write !Exact, !Prefix, !Suffix or !Presence in front"));
    CHECK(has(refused(policy_with("principals: [!exact web]")), "principals[0]: unknown string match 'exact'; give one of Exact"));
    CHECK(has(refused(policy_with("principals: [{Exact: a, Prefix: b}]")), "principals[0]: 2 keys in a string match"));
    CHECK(has(refused(policy_with("principals: [{}]")), "0 keys in a string match"));
    CHECK(has(refused(policy_with("principals: [!Presence x]")), "Presence takes no value"));
    CHECK(has(refused(policy_with("principals: [{Presence: x}]")), "Presence takes no value"));
    CHECK(has(refused(policy_with("principals: [!Exact [x]]")), "a string match compares with a text"));
    CHECK(has(refused(policy_with("principals: [{Exact: }]")), "principals[0].Exact: a string match compares with a text"));
    CHECK(has(refused(policy_with("serviceAccounts: [{namespace: a}]")), "serviceAccounts[0]: key 'serviceAccount' is missing"));
    CHECK(has(refused(policy_with("")), "policies[0].rules[0][0][0]: is null; give a map"));
}

TEST_CASE("mesh_yaml: string matches by tag and by map are the same") {
    CHECK(match_of("principals: [!Exact a]") == match_of("principals: [{Exact: a}]"));
    CHECK(match_of("principals: [!Presence ]") == match_of("principals: [{Presence: []}]"));
    CHECK(match_of("principals: [!Presence []]") == match_of("principals: [{Presence: }]"));
    CHECK(match_of("principals: [!Exact null]").principals.any_of[0].value == "null");
    CHECK(match_of("{}").empty());
}

TEST_CASE("mesh_yaml: nothing may stand twice") {
    CHECK(has(refused("workloads:\n- &w {uid: u, namespace: n, workloadIps: [], services: {}}\n- {uid: u, namespace: n, workloadIps: [], "
                      "services: {}}\n"),
              "mesh.yaml:3: workloads[1]: a second workload with the uid 'u'; give each its own"));
    const std::string service = "{name: a, namespace: b, hostname: c, vips: [], ports: {}}";
    CHECK(has(refused("services: [" + service + ", " + service + "]"), "services[1]: a second service 'b/c'"));
    const std::string policy = "{name: a, namespace: b, scope: Global, action: Deny, rules: [], dryRun: false}";
    CHECK(has(refused("policies: [" + policy + ", " + policy + "]"), "policies[1]: a second policy 'b/a'"));
    CHECK(has(refused(workload_with("  uid: u2\n")), "mesh.yaml:6: workloads[0] key: 'uid' stands here twice; keep one"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: {a/b: {80: 1, \"80\": 2}}}]"), "'80' stands here twice"));
    CHECK(has(refused("workloads: [{namespace: n, workloadIps: [], services: {a/b: {}, a/b: {}}}]"), "'a/b' stands here twice"));
}

TEST_CASE("mesh_yaml: static endpoints that do not fit their workload") {
    const std::string workload = "workloads: [{uid: u, namespace: n, workloadIps: [], services: {prod/web.prod.svc: {80: 1}}}]\n";
    CHECK(has(refused(workload + service_with("  endpoints: {v: {port: {}}}\n")),
              "services[0].endpoints key: no workload with the uid 'v' in this file"));
    CHECK(
        has(refused(workload + service_with("  endpoints: {u: {port: {80: 2}}}\n")), "the workload's own services entry has other ports"));
    CHECK(has(refused(workload + service_with("  endpoints: {u: {port: {80: 1}, status: Unhealthy}}\n")), "status is not its workload's"));
    CHECK(has(refused(workload + service_with("  endpoints: {u: {port: {80: 1}, workloadUid: v}}\n")),
              "services[0].endpoints.u.workloadUid: 'v' is not the key 'u'"));
    CHECK(has(refused(workload + service_with("  endpoints: {u: {}}\n")), "services[0].endpoints.u: key 'port' is missing"));
    CHECK(load(workload + service_with("  endpoints: {u: {port: {80: 1}}}\n")).workloads[0]->services.size() == 1);
}

TEST_CASE("mesh_yaml: what is not YAML is refused with the line") {
    CHECK(has(refused("workloads:\n  - a\n b: c\n"), "mesh.yaml:3: "));
    CHECK(has(refused("a: [1, 2"), "mesh.yaml:1: not YAML: 'end of sequence flow not found'; correct the syntax"));
    CHECK(has(refused("a: \"\\\n\\\x01\""), "not YAML: 'unknown escape character: ?'"));  // foreign bytes do not reach the error
    CHECK(has(refused("? [a]\n: b\n"), "is a list; give a text"));
    CHECK(has(refused("%YAML 9.9\n---\n{}\n"), "mesh.yaml:1: "));
}

TEST_CASE("mesh_yaml: bombs are refused in bounded time and memory") {
    std::string laughs = "a: &a [x, x, x, x, x, x, x, x]\n";
    for (char c = 'b'; c <= 'k'; ++c) {
        const std::string one = std::string("*") + static_cast<char>(c - 1);
        laughs += std::string(1, c) + ": &" + c + " [" + one + ", " + one + ", " + one + "]\n";
    }
    CHECK(has(refused(laughs), "mesh.yaml:2: aliases (*name) are not supported"));
    CHECK(has(refused("a: &a [*a]"), "aliases (*name) are not supported"));
    CHECK(has(refused("a: &x {b: 1}\nc:\n  <<: *x\n"), "aliases"));
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "- ";
    CHECK(has(refused(deep + "x"), "nested more than 32 deep"));
    CHECK(!refused(std::string(100'000, '[')).empty());
    CHECK(has(refused(std::string(5'000'000, '[')), "more than 1048576 bytes in one [...], {...} or scalar"));
    CHECK(has(refused("a: " + std::string(5'000'000, 'x')), "more than 1048576 bytes in one"));
    CHECK(has(refused(std::string((size_t{64} << 20) + 1, ' ')), "67108865 bytes; at most 67108864 are read"));
}

TEST_CASE("mesh_yaml: the number of values is bounded") {
    std::string many = "workloads:\n";
    many.reserve(20'000'000);
    for (int i = 0; i < 4'000'100; ++i) many += "- \n";
    CHECK(has(refused(many), "more than 4000000 values"));
}
