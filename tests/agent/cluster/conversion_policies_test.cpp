// SPDX-License-Identifier: Apache-2.0
// Kubernetes contract 3.7 row by row, and the places where this conversion is stricter than the reference on purpose.
#include "base/bytes.h"
#include "tests/agent/cluster/conversion_fixture.h"

#include <algorithm>

using namespace warren::cluster;

namespace {

std::string text(const istio::security::StringMatch& m) {
    if (m.has_presence()) return "any";
    if (m.has_prefix()) return "pre:" + m.prefix();
    return m.has_suffix() ? "suf:" + m.suffix() : m.exact();
}
std::string text(const istio::security::Address& a) {
    return warren::base::IpAddr::from_bytes(warren::base::as_bytes(a.address()))->to_string() + '/' + std::to_string(a.length());
}
std::string text(const istio::security::ServiceAccountMatch& a) { return a.namespace_() + '/' + a.serviceaccount(); }
std::string text(uint32_t port) { return std::to_string(port); }

template <class List>
void add(const char* name, const List& list, std::string& to) {
    if (list.empty()) return;
    to += (to.empty() ? "" : "; ") + std::string(name);
    const char* between = " ";
    for (const auto& value : list) {
        to += between + text(value);
        between = ", ";
    }
}

std::string text(const istio::security::Match& m) {
    std::string out;
    add("P", m.principals(), out);
    add("N", m.namespaces(), out);
    add("nN", m.not_namespaces(), out);
    add("SA", m.service_accounts(), out);
    add("nSA", m.not_service_accounts(), out);
    add("S", m.source_ips(), out);
    add("nS", m.not_source_ips(), out);
    add("D", m.destination_ips(), out);
    add("nD", m.not_destination_ips(), out);
    add("dp", m.destination_ports(), out);
    add("ndp", m.not_destination_ports(), out);
    add("nP", m.not_principals(), out);
    return out.empty() ? "{}" : out;
}

std::string notation(const istio::security::Authorization& a) {
    std::string out = Action_Name(a.action()) + ' ' + Scope_Name(a.scope()) + (a.dry_run() ? " dry-run" : "");
    for (const auto& rule : a.rules()) {
        out += " G{";
        for (int i = 0; i < rule.clauses_size(); ++i) {
            out += i == 0 ? "[" : ",[";
            for (int j = 0; j < rule.clauses(i).matches_size(); ++j) out += (j == 0 ? "" : " | ") + text(rule.clauses(i).matches(j));
            out += "]";
        }
        out += "}";
    }
    return out;
}

// The only policy that comes of a spec, or "not sent".
std::string policy(const std::string& spec, const std::string& ns = "ns1", const std::string& metadata = "",
                   const Settings& settings = {}) {
    const Converted c = converted(
        object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: p, namespace: " + ns + metadata, "spec: " + spec), settings);
    if (c.outputs.authorizations.empty()) return "not sent";
    CHECK(c.outputs.authorizations.size() == 1);
    CHECK(c.outputs.authorizations.begin()->first == ns + "/p");
    return notation(c.outputs.authorizations.begin()->second);
}

std::string peer(const std::string& name, const std::string& ns, const std::string& spec) {
    return object_yaml("security.istio.io/v1", "PeerAuthentication", "name: " + name + ", namespace: " + ns, "spec: " + spec);
}

// "KEYS THAT THE POD NAMES -> CONVERTED POLICY" under the given objects; the pod is ns1/web-1 of app web.
std::string strictness(const std::string& objects) {
    const Converted c = clean(pod_yaml("ns1", "web-1") + objects);
    std::string out;
    const auto pod = c.pod("ns1/web-1");
    for (const auto& key : pod.value("authorizationPolicies", std::vector<std::string>())) {
        out += (out.empty() ? "" : " ") + key;
        CHECK(c.outputs.authorizations.count(key) == 1);  // a name without a policy protects nothing
    }
    for (const auto& [key, policy] : c.outputs.authorizations)
        if (key.find("converted_peer") != std::string::npos) out += " -> " + notation(policy);
    return out;
}

// Whether a converted mTLS mode refuses the peer there (contract 3.1), of the fields that such policies have.
bool denies(const istio::security::Authorization& policy, uint32_t port, bool identity) {
    const auto matches = [&](const istio::security::Match& m) {
        const auto holds = [&](const auto& ports) { return std::find(ports.begin(), ports.end(), port) != ports.end(); };
        if (!m.destination_ports().empty() && !holds(m.destination_ports())) return false;
        return !holds(m.not_destination_ports()) && (m.not_principals().empty() || !identity);
    };
    return std::any_of(policy.rules().begin(), policy.rules().end(), [&](const auto& rule) {
        return std::all_of(rule.clauses().begin(), rule.clauses().end(),
                           [&](const auto& clause) { return std::any_of(clause.matches().begin(), clause.matches().end(), matches); });
    });
}

const std::string kStatic = "istio-system/istio_converted_static_strict";
const std::string kConverted = "ns1/converted_peer_authentication_w";
const std::string kDeny = " -> DENY WORKLOAD_SELECTOR ";

std::string mesh(const std::string& mode) { return peer("default", "istio-system", "{mtls: {mode: " + mode + "}}"); }
std::string ns1(const std::string& mode) { return peer("default", "ns1", "{mtls: {mode: " + mode + "}}"); }
std::string own(const std::string& mode, const std::string& ports = "") {
    return peer("w", "ns1",
                "{selector: {matchLabels: {app: web}}, mtls: {mode: " + mode + "}" +
                    (ports.empty() ? "" : ", portLevelMtls: {" + ports + "}") + "}");
}

}  // namespace

TEST_CASE("conversion: rules of authorization policies") {
    struct Row {
        int number;
        const char* spec;
        const char* want;
    };
    const Row rows[] = {
        {1, "{}", "ALLOW NAMESPACE"},
        {2, "{rules: [{}]}", "ALLOW NAMESPACE G{}"},
        {3, "{action: DENY, rules: [{}]}", "DENY NAMESPACE G{}"},
        {4, "{action: DENY}", "DENY NAMESPACE"},
        {7, "{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {principals: [cluster.local/ns/x/sa/y]}}]}]}",
         "ALLOW WORKLOAD_SELECTOR G{[P cluster.local/ns/x/sa/y]}"},
        {8, "{rules: [{from: [{source: {principals: ['*']}}]}]}", "ALLOW NAMESPACE G{[P any]}"},
        {9, "{rules: [{from: [{source: {principals: ['cluster.local/ns/x/*']}}]}]}", "ALLOW NAMESPACE G{[P pre:cluster.local/ns/x/]}"},
        {10, "{rules: [{from: [{source: {principals: ['*/sa/y']}}]}]}", "ALLOW NAMESPACE G{[P suf:/sa/y]}"},
        {10, "{rules: [{from: [{source: {principals: ['*/sa/*']}}]}]}", "ALLOW NAMESPACE G{[P suf:/sa/*]}"},
        {11, "{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}", "DENY NAMESPACE G{[nP any]}"},
        {12, "{rules: [{from: [{source: {namespaces: [a, 'b-*']}}]}]}", "ALLOW NAMESPACE G{[N a, pre:b-]}"},
        {13, "{rules: [{from: [{source: {serviceAccounts: [x/y, z]}}]}]}", "ALLOW NAMESPACE G{[SA x/y, ns1/z]}"},
        {14, "{rules: [{from: [{source: {ipBlocks: [1.2.3.4, 5.6.0.0/16], notIpBlocks: [5.6.7.0/24]}}]}]}",
         "ALLOW NAMESPACE G{[S 1.2.3.4/32, 5.6.0.0/16; nS 5.6.7.0/24]}"},
        {15, "{rules: [{from: [{source: {ipBlocks: ['fd00::1']}}]}]}", "ALLOW NAMESPACE G{[S fd00::1/128]}"},
        {16, "{rules: [{to: [{operation: {ports: ['80', '90'], notPorts: ['800']}}]}]}", "ALLOW NAMESPACE G{[dp 80, 90; ndp 800]}"},
        {17, "{rules: [{from: [{source: {principals: [A]}}], to: [{operation: {ports: ['80']}}]}]}", "ALLOW NAMESPACE G{[dp 80],[P A]}"},
        {18, "{rules: [{from: [{source: {principals: [A]}}, {source: {principals: [B]}}], to: [{operation: {ports: ['80']}}]}]}",
         "ALLOW NAMESPACE G{[dp 80],[P A | P B]}"},
        {19, "{rules: [{from: [{source: {principals: [A]}}]}, {to: [{operation: {ports: ['80']}}]}]}",
         "ALLOW NAMESPACE G{[P A]} G{[dp 80]}"},
        {20, "{rules: [{when: [{key: source.ip, values: [10.10.10.10], notValues: [20.20.20.20]}]}]}",
         "ALLOW NAMESPACE G{[S 10.10.10.10/32; nS 20.20.20.20/32]}"},
        {21, "{rules: [{when: [{key: source.namespace, values: [a]}, {key: destination.port, values: ['91']}]}]}",
         "ALLOW NAMESPACE G{[N a],[dp 91]}"},
        {22, "{rules: [{when: [{key: destination.ip, values: [192.168.10.0/24]}]}]}", "ALLOW NAMESPACE G{[D 192.168.10.0/24]}"},
        {22, "{rules: [{when: [{key: source.principal, notValues: [A]}]}]}", "ALLOW NAMESPACE G{[nP A]}"},
        {23, "{rules: [{to: [{operation: {methods: [GET]}}]}]}", "ALLOW NAMESPACE"},
        {23, "{rules: [{to: [{operation: {hosts: [h]}}]}, {to: [{operation: {notHosts: [h]}}]}, {to: [{operation: {notPaths: [p]}}]}]}",
         "ALLOW NAMESPACE"},
        {24, "{rules: [{from: [{source: {principals: [A]}}]}, {to: [{operation: {paths: [/x]}}]}]}", "ALLOW NAMESPACE G{[P A]}"},
        {25, "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}, {from: [{source: {notRequestPrincipals: [a]}}]}]}",
         "ALLOW NAMESPACE"},
        {26, "{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}, {from: [{source: {notRemoteIpBlocks: [10.0.0.0/8]}}]}]}",
         "ALLOW NAMESPACE"},
        {27, "{rules: [{when: [{key: connection.sni, values: [x]}]}, {when: [{key: source.serviceAccount, values: [b]}]}]}",
         "ALLOW NAMESPACE"},
        {28,
         "{action: DENY, rules: [{from: [{source: {principals: [A], requestPrincipals: [B], namespaces: [N1]}}], "
         "to: [{operation: {ports: ['80']}}]}]}",
         "DENY NAMESPACE G{[dp 80],[P A; N N1]}"},
        {29,
         "{action: DENY, rules: [{from: [{source: {principals: [A], namespaces: [N1]}}], "
         "to: [{operation: {ports: ['80'], methods: [M]}}]}]}",
         "DENY NAMESPACE G{[dp 80],[P A; N N1]}"},
        {30, "{action: DENY, rules: [{from: [{source: {principals: [A]}}], to: [{operation: {methods: [GET]}}]}]}",
         "DENY NAMESPACE G{[{}],[P A]}"},
        {31, "{action: DENY, rules: [{from: [{source: {requestPrincipals: [R]}}], to: [{operation: {paths: [p], methods: [m]}}]}]}",
         "DENY NAMESPACE G{[{}],[{}]}"},
        {32, "{action: DENY, rules: [{when: [{key: source.namespace, values: [N1]}, {key: connection.sni, values: [x]}]}]}",
         "DENY NAMESPACE G{[N N1],[{}]}"},
        {33, "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}, {operation: {ports: ['80']}}]}]}",
         "DENY NAMESPACE G{[{} | dp 80]}"},
        {34, "{action: CUSTOM, provider: {name: x}, rules: [{}]}", "not sent"},
        {34, "{action: AUDIT, rules: [{}]}", "not sent"},
        {35, "{targetRefs: [{kind: Service, group: '', name: s}], rules: [{}]}", "not sent"},
        {35, "{targetRef: {kind: Service, group: '', name: s}, rules: [{}]}", "not sent"},
        {37, "{rules: [{to: [{operation: {ports: ['99999', '80']}}]}]}", "ALLOW NAMESPACE G{[dp 80]}"},
    };
    for (const Row& row : rows) {
        INFO("row " << row.number << ": " << row.spec);
        CHECK(policy(row.spec) == row.want);
    }
}

TEST_CASE("conversion: the root namespace, revisions and dry runs") {
    CHECK(policy("{rules: [{}]}", "istio-system") == "ALLOW GLOBAL G{}");                                                // row 5
    CHECK(policy("{selector: {matchLabels: {app: a}}, rules: [{}]}", "istio-system") == "ALLOW WORKLOAD_SELECTOR G{}");  // row 6
    CHECK(policy("{rules: [{}]}", "ns1", ", annotations: {istio.io/dry-run: 'true'}") == "not sent");                    // row 36
    CHECK(policy("{rules: [{}]}", "ns1", ", annotations: {istio.io/dry-run: 'T'}", {.dry_run_policies = true}) ==
          "ALLOW NAMESPACE dry-run G{}");
    CHECK(policy("{rules: [{}]}", "ns1", ", annotations: {istio.io/dry-run: 'false'}") == "ALLOW NAMESPACE G{}");
    CHECK(policy("{rules: [{}]}", "ns1", ", annotations: {istio.io/dry-run: 'yes'}") == "ALLOW NAMESPACE G{}");  // enforced on doubt
    CHECK(policy("{rules: [{}]}", "ns1", ", labels: {istio.io/rev: canary}") == "not sent");
    CHECK(policy("{rules: [{}]}", "ns1", ", labels: {istio.io/rev: canary}", {.revision = "canary"}) == "ALLOW NAMESPACE G{}");
}

TEST_CASE("conversion: workloads name the policies that select them") {
    const auto az = [](const std::string& name, const std::string& ns, const std::string& labels) {
        return object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: " + name + ", namespace: " + ns,
                           "spec: {selector: {matchLabels: {" + labels + "}}, rules: [{}]}");
    };
    const Converted c =
        clean(pod_yaml("ns1", "web-1") + pod_yaml("ns2", "web-1") + az("b", "ns1", "app: web") + az("a", "ns1", "app: web") +
              az("c", "ns1", "app: web, x: y") + az("root", "istio-system", "app: web") + az("other", "ns3", "app: web"));
    CHECK(c.pod("ns1/web-1")["authorizationPolicies"] == nlohmann::json({"istio-system/root", "ns1/a", "ns1/b"}));
    CHECK(c.pod("ns2/web-1")["authorizationPolicies"] == nlohmann::json({"istio-system/root"}));  // row 6
}

// The reference gives it a selector's scope and attaches it to nobody: a DENY would deny nothing, an ALLOW would restrict nobody.
TEST_CASE("conversion: an empty selector selects everything, not nothing") {
    CHECK(policy("{selector: {}, action: DENY, rules: [{}]}") == "DENY NAMESPACE G{}");
    CHECK(policy("{selector: {matchLabels: {}}, rules: [{}]}", "istio-system") == "ALLOW GLOBAL G{}");
    CHECK(strictness(peer("default", "istio-system", "{selector: {}, mtls: {mode: STRICT}}")) == kStatic);
    CHECK(strictness(peer("default", "ns1", "{selector: {}, mtls: {mode: STRICT}}") + own("UNSET", "9090: {mode: PERMISSIVE}")) ==
          kConverted + kDeny + "G{[ndp 9090],[nP any]}");
}

// The reference leaves such values out silently. Beside other fields that widens an ALLOW; alone it takes the effect from a DENY.
TEST_CASE("conversion: a value that does not parse never widens an ALLOW nor narrows a DENY") {
    struct Row {
        const char* spec;
        const char* want;
    };
    const Row rows[] = {
        {"{rules: [{from: [{source: {ipBlocks: [bad], namespaces: [a]}}]}]}", "ALLOW NAMESPACE G{[{}]}"},
        {"{rules: [{from: [{source: {notIpBlocks: [bad, 10.0.0.0/8], namespaces: [a]}}]}]}", "ALLOW NAMESPACE G{[{}]}"},
        {"{rules: [{from: [{source: {ipBlocks: [bad, 10.0.0.1], namespaces: [a]}}]}]}", "ALLOW NAMESPACE G{[N a; S 10.0.0.1/32]}"},
        {"{rules: [{to: [{operation: {ports: [x]}}]}]}", "ALLOW NAMESPACE G{[{}]}"},
        {"{rules: [{from: [{source: {serviceAccounts: ['a/*']}}]}]}", "ALLOW NAMESPACE G{[{}]}"},
        {"{action: DENY, rules: [{from: [{source: {ipBlocks: [bad], namespaces: [a]}}]}]}", "DENY NAMESPACE G{[N a]}"},
        {"{action: DENY, rules: [{from: [{source: {ipBlocks: [bad]}}], to: [{operation: {ports: ['80']}}]}]}", "DENY NAMESPACE G{[dp 80]}"},
        {"{action: DENY, rules: [{from: [{source: {notIpBlocks: [bad]}}]}]}", "DENY NAMESPACE G{}"},
        {"{action: DENY, rules: [{to: [{operation: {ports: [x, '80']}}]}]}", "DENY NAMESPACE G{[dp 80]}"},
    };
    for (const Row& row : rows) {
        INFO(row.spec);
        CHECK(policy(row.spec) == row.want);
    }
    const Converted c = converted(object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: p, namespace: n",
                                              "spec:\n  rules:\n  - from:\n    - source:\n        ipBlocks: [10.0.0.300]"));
    REQUIRE(c.problems.errors().size() == 1);
    CHECK(c.problems.errors()[0] ==
          "t.yaml:9: spec.rules[0].from[0].source.ipBlocks[0]: '10.0.0.300' is not an address or prefix; give 10.0.0.1 or 10.0.0.0/8. "
          "Until then this ALLOW allows nothing by it");
}

TEST_CASE("conversion: mTLS modes by mesh, namespace and workload") {
    struct Row {
        int number;
        std::string objects;
        std::string want;
    };
    const std::string strict_9090 = "9090: {mode: STRICT}", open_9090 = "9090: {mode: PERMISSIVE}";
    const Row rows[] = {
        {38, mesh("STRICT"), kStatic},
        {39, ns1("STRICT"), kStatic},
        {40, mesh("STRICT") + ns1("PERMISSIVE"), ""},
        {40, mesh("STRICT") + ns1("DISABLE"), ""},
        {40, mesh("STRICT") + ns1("UNSET"), kStatic},
        {41, own("STRICT"), kStatic},
        {42, ns1("STRICT") + own("PERMISSIVE"), ""},
        {43, own("STRICT", open_9090), kConverted + kDeny + "G{[nP any],[ndp 9090]}"},
        {43, own("STRICT", "9090: {mode: DISABLE}"), kConverted + kDeny + "G{[nP any],[ndp 9090]}"},
        {44, own("STRICT", strict_9090), kStatic},
        {45, own("STRICT", "9090: {mode: STRICT}, 8080: {mode: PERMISSIVE}"), kConverted + kDeny + "G{[nP any],[ndp 8080]}"},
        {45, own("STRICT", "9090: {mode: DISABLE}, 8080: {mode: PERMISSIVE}"), kConverted + kDeny + "G{[nP any],[ndp 8080],[ndp 9090]}"},
        {46, own("PERMISSIVE", strict_9090), kConverted + kDeny + "G{[dp 9090; nP any]}"},
        {46, own("DISABLE", strict_9090), kConverted + kDeny + "G{[dp 9090; nP any]}"},
        {47, own("PERMISSIVE", "9090: {mode: STRICT}, 8080: {mode: STRICT}"),
         kConverted + kDeny + "G{[dp 8080; nP any]} G{[dp 9090; nP any]}"},
        {48, own("PERMISSIVE", "9090: {mode: STRICT}, 8080: {mode: PERMISSIVE}"), kConverted + kDeny + "G{[dp 9090; nP any]}"},
        {49, own("UNSET", "8080: {mode: STRICT}"), kConverted + kDeny + "G{[dp 8080; nP any]}"},
        {50, mesh("PERMISSIVE") + ns1("STRICT") + own("UNSET", open_9090), kConverted + kDeny + "G{[ndp 9090],[nP any]}"},
        {51, mesh("STRICT") + own("UNSET", "9090: {mode: PERMISSIVE}, 8080: {mode: STRICT}"),
         kConverted + kDeny + "G{[ndp 9090],[nP any]}"},
        {52, mesh("STRICT") + ns1("PERMISSIVE") + own("UNSET", strict_9090), kConverted + kDeny + "G{[dp 9090; nP any]}"},
        {53, mesh("PERMISSIVE") + ns1("UNSET") + own("UNSET", "9090: {mode: STRICT}, 8080: {mode: PERMISSIVE}"),
         kConverted + kDeny + "G{[dp 9090; nP any]}"},
        {54, mesh("PERMISSIVE") + own("UNSET", open_9090), ""},
        {55, peer("w", "istio-system", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}"), ""},
        // Too strict, as with the reference: only PERMISSIVE makes a workload name its exceptions.
        {0, ns1("STRICT") + own("UNSET", "9090: {mode: DISABLE}"), kStatic + kDeny + "G{[ndp 9090],[nP any]}"},
        {0, mesh("STRICT") + ns1("UNSET") + own("UNSET", "9090: {mode: DISABLE}"), kStatic},
        {0, own("PERMISSIVE", "9090: {mode: UNSET}"), ""},
    };
    for (const Row& row : rows) {
        INFO("row " << row.number << ": " << row.objects);
        CHECK(strictness(row.objects) == row.want);
    }
}

// Contract 3.6, second and third quirk: the reference attaches a policy that it does not publish, so that the port, or the whole
// workload, accepts plaintext. Here what is named exists.
TEST_CASE("conversion: strict modes the reference loses are kept") {
    const std::string strict_9090 = "9090: {mode: STRICT}", open_9090 = "9090: {mode: PERMISSIVE}";
    CHECK(strictness(mesh("STRICT") + own("PERMISSIVE", strict_9090)) == kConverted + kDeny + "G{[dp 9090; nP any]}");
    CHECK(strictness(mesh("STRICT") + ns1("UNSET") + own("DISABLE", strict_9090)) == kConverted + kDeny + "G{[dp 9090; nP any]}");
    CHECK(strictness(mesh("STRICT") + ns1("UNSET") + own("UNSET", open_9090)) == kConverted + kDeny + "G{[ndp 9090],[nP any]}");
}

// Contract 3.6: port before workload before namespace before mesh. One exception, too strict as with the reference: of what inherits
// STRICT, ports on DISABLE are let off only beside one on PERMISSIVE.
TEST_CASE("conversion: every combination of mTLS modes refuses plaintext where it is meant to, and nothing else") {
    const std::vector<std::string> modes = {"", "UNSET", "DISABLE", "PERMISSIVE", "STRICT"};  // "": no such object, or port
    const auto set = [](const std::string& mode) { return !mode.empty() && mode != "UNSET"; };
    size_t seen = 0;
    for (const std::string& of_mesh : modes) {
        struct Case {
            std::string ns, own, p8080, p9090;
        };
        std::vector<Case> cases;
        std::string objects = of_mesh.empty() ? "" : mesh(of_mesh);
        for (const std::string& ns : modes)
            for (const std::string& own : modes)
                for (const std::string& a : modes)
                    for (const std::string& b : modes)
                        if (!own.empty() || (a.empty() && b.empty())) cases.push_back({ns, own, a, b});
        for (size_t i = 0; i < cases.size(); ++i) {
            const std::string name = "n" + std::to_string(i);
            objects += pod_yaml(name, "web-1");
            if (!cases[i].ns.empty()) objects += peer("default", name, "{mtls: {mode: " + cases[i].ns + "}}");
            if (cases[i].own.empty()) continue;
            std::string ports;
            if (!cases[i].p8080.empty()) ports += "8080: {mode: " + cases[i].p8080 + "}, ";
            if (!cases[i].p9090.empty()) ports += "\"9090\": {mode: " + cases[i].p9090 + "}";
            objects += peer("w", name,
                            "{selector: {matchLabels: {app: web}}, mtls: {mode: " + cases[i].own + "}, portLevelMtls: {" + ports + "}}");
        }
        const Converted c = clean(objects);
        for (size_t i = 0; i < cases.size(); ++i) {
            const Case& one = cases[i];
            INFO("mesh " << of_mesh << ", namespace " << one.ns << ", workload " << one.own << ", 8080 " << one.p8080 << ", 9090 "
                         << one.p9090);
            const auto names = c.pod("n" + std::to_string(i) + "/web-1").value("authorizationPolicies", std::vector<std::string>());
            const std::string inherited = set(one.ns) ? one.ns : of_mesh;
            const bool all_strict = inherited == "STRICT" && one.own == "UNSET" && one.p8080 != "PERMISSIVE" && one.p9090 != "PERMISSIVE";
            const std::string rest = set(one.own) ? one.own : inherited;
            for (const auto& [port, given] : {std::pair(8080U, one.p8080), std::pair(9090U, one.p9090), std::pair(7070U, std::string())}) {
                const std::string mode = set(given) && !all_strict ? given : rest;
                bool plain = false, known = false;
                for (const std::string& name : names) {
                    plain = plain || denies(c.outputs.authorizations.at(name), port, false);
                    known = known || denies(c.outputs.authorizations.at(name), port, true);
                }
                INFO("port " << port);
                CHECK(plain == (mode == "STRICT"));
                CHECK_FALSE(known);
            }
            ++seen;
        }
    }
    CHECK(seen == 2525);
}

TEST_CASE("conversion: the oldest of several mTLS modes counts") {
    const auto dated = [](const std::string& name, const std::string& mode, const std::string& created) {
        return object_yaml("security.istio.io/v1", "PeerAuthentication",
                           "name: " + name + ", namespace: ns1, creationTimestamp: \"" + created + "\"",
                           "spec: {mtls: {mode: " + mode + "}}");
    };
    CHECK(strictness(dated("a", "PERMISSIVE", "2024-01-02T00:00:00Z") + dated("b", "STRICT", "2024-01-01T00:00:00Z")) == kStatic);
    CHECK(strictness(dated("a", "PERMISSIVE", "2024-01-01T00:00:00Z") + dated("b", "STRICT", "2024-01-01T00:00:00Z")).empty());
}

TEST_CASE("conversion: the static strict policy is there with any PeerAuthentication, and denies peers without identity") {
    const Converted c = clean(mesh("PERMISSIVE"));
    REQUIRE(c.outputs.authorizations.count(kStatic) == 1);
    CHECK(notation(c.outputs.authorizations.at(kStatic)) == "DENY WORKLOAD_SELECTOR G{[nP any]}");
    CHECK(clean(pod_yaml("ns1", "web-1")).outputs.authorizations.empty());
}
