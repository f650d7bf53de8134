// SPDX-License-Identifier: Apache-2.0
// NetworkPolicies by example: what they leave of plain TCP between two pods, what does not read, and what there is no room for.
#include "agent/node/kube_network_policy.h"
#include "tests/catch.h"

using namespace warren;
using namespace warren::node;

namespace {

KubePod pod(const std::string& ns, const std::string& name, Labels labels) {
    KubePod p;
    p.ns = ns;
    p.name = p.uid = name;
    p.labels = std::move(labels);
    p.ports = {{"http", 8080}};
    return p;
}

struct Cluster {
    NetworkPolicies policies;
    KubePod web = pod("shop", "web", {{"app", "web"}}), cart = pod("shop", "cart", {{"app", "cart"}}),
            scraper = pod("monitoring", "scraper", {{"app", "prometheus"}});

    void put(const std::string& name, const std::string& spec, const std::string& ns = "shop") {
        const auto read =
            policies.put(ns, name, R"({"metadata":{"namespace":")" + ns + R"(","name":")" + name + R"("},"spec":)" + spec + "}");
        INFO(name << ": " << spec);
        REQUIRE(read);
    }
    PodNetworkRef network(const KubePod& p) const {
        return policies.network_of(p, {{"kubernetes.io/metadata.name", p.ns}, {"team", p.ns == "shop" ? "a" : "b"}});
    }
    std::string open(const KubePod& from, const KubePod& to) const {
        const PodNetworkRef a = network(from), b = network(to);
        if (!a.pod || !b.pod) return "all";
        const OpenPorts found = open_ports(*a.pod, *b.pod);
        CHECK((found.ingress || found.egress) == !all_ports(found.ports));
        if (all_ports(found.ports)) return "all";
        std::string out;
        for (const PortRange& r : found.ports) {
            out += (out.empty() ? "" : " ") + std::to_string(r.first);
            if (r.last != r.first) out += "-" + std::to_string(r.last);
        }
        return out.empty() ? "none" : out;
    }
};

}  // namespace

TEST_CASE("network policies: what the rules of one leave open from a pod beside it and one of another namespace") {
    struct Row {
        const char *spec, *from_cart, *from_scraper;
    };
    // The policy selects web.
    const Row rows[] = {
        {R"({"podSelector":{"matchLabels":{"app":"other"}}})", "all", "all"},
        {R"({"podSelector":{}})", "none", "none"},
        {R"({"podSelector":{"matchLabels":{"app":"web"}}})", "none", "none"},
        {R"({"podSelector":{},"ingress":[]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{}]})", "all", "all"},
        {R"({"podSelector":{},"ingress":[{"from":[],"ports":null}]})", "all", "all"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":15008}]}]})", "15008", "15008"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":80},{"port":443}]},{"ports":[{"port":81}]}]})", "80-81 443", "80-81 443"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":1,"endPort":65535}]}]})", "all", "all"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":8000,"endPort":9000},{"port":8500,"endPort":9500}]}]})", "8000-9500",
         "8000-9500"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":9,"endPort":8}]}]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"protocol":"UDP","port":53}]}]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"protocol":"UDP"},{"protocol":"TCP"}]}]})", "all", "all"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":"http"}]}]})", "8080", "8080"},
        {R"({"podSelector":{},"ingress":[{"ports":[{"port":"https"}]}]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{}}]}]})", "all", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"cart"}}}],"ports":[{"port":80}]}]})", "80", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"prometheus"}}}]}]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{}}]}]})", "all", "all"},
        {R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"b"}}}]}]})", "none", "all"},
        {R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"b"}},"podSelector":{"matchLabels":{"app":"x"}}}]}]})",
         "none", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"b"}}},{"podSelector":{}}]}]})", "all",
         "all"},
        {R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchExpressions":[{"key":"app","operator":"NotIn","values":["cart"]}]}}]}]})",
         "none", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"podSelector":{"matchExpressions":[{"key":"app","operator":"Exists"}]}}]}]})", "all",
         "none"},
        // Whether a block of addresses has pods in it is not for us to say.
        {R"({"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}]})", "none", "none"},
        {R"({"podSelector":{},"ingress":[{"from":[{"somethingNew":{}}]}]})", "none", "none"},
        {R"({"podSelector":{},"policyTypes":["Egress"]})", "none", "all"},
        {R"({"podSelector":{},"policyTypes":["Ingress"],"egress":[{"ports":[{"port":1}]}],"ingress":[{}]})", "all", "all"},
    };
    for (const Row& row : rows) {
        Cluster c;
        c.put("p", row.spec);
        INFO(row.spec);
        CHECK(c.open(c.cart, c.web) == row.from_cart);
        CHECK(c.open(c.scraper, c.web) == row.from_scraper);
    }
}

TEST_CASE("network policies: each adds to what the others allow, in a direction and a namespace") {
    Cluster c;
    CHECK_FALSE(c.network(c.web).pod);  // nobody has to be looked at while there is none
    c.put("deny", R"({"podSelector":{},"policyTypes":["Ingress","Egress"]})");
    CHECK(c.open(c.scraper, c.web) == "none");
    CHECK(c.open(c.web, c.scraper) == "none");
    CHECK(c.open(c.scraper, c.scraper) == "all");
    c.put("in", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{"ports":[{"port":80},{"port":81}]}]})");
    CHECK(c.open(c.scraper, c.web) == "80-81");
    CHECK(c.open(c.scraper, c.cart) == "none");
    CHECK(c.open(c.cart, c.web) == "none");  // it may not send
    c.put("out", R"({"podSelector":{"matchLabels":{"app":"cart"}},"egress":[{"to":[{"podSelector":{"matchLabels":{"app":"web"}}}],
        "ports":[{"port":81,"endPort":90},{"port":"http"}]}],"policyTypes":["Egress"]})");
    CHECK(c.open(c.cart, c.web) == "81");
    const OpenPorts found = open_ports(*c.network(c.cart).pod, *c.network(c.web).pod);
    CHECK(found.ingress);
    CHECK(found.egress);
    // Names are of the container ports of whom it goes to.
    c.put("all-in", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{}]})");
    CHECK(c.open(c.cart, c.web) == "81-90 8080");
    c.web.ports["http"] = 8088;
    CHECK(c.open(c.cart, c.web) == "81-90 8088");
    c.put("everything", R"({"podSelector":{},"ingress":[{}],"egress":[{}]})");
    CHECK(c.open(c.cart, c.web) == "all");
    CHECK(c.network(c.web).pod->ingress.empty());
    c.policies.remove("shop", "everything");
    CHECK(c.open(c.cart, c.web) == "81-90 8088");
    for (const char* name : {"deny", "in", "out", "all-in"}) c.policies.remove("shop", name);
    c.policies.remove("shop", "never-there");
    CHECK(c.policies.size() == 0);
    CHECK_FALSE(c.network(c.web).pod);
}

TEST_CASE("network policies: without policyTypes one governs what comes in, and what goes out where it has such rules") {
    Cluster c;
    c.put("p", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{}]})");
    CHECK(c.open(c.web, c.cart) == "all");
    c.put("p", R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{}],"egress":[{"ports":[{"port":5432}]}]})");
    CHECK(c.open(c.web, c.cart) == "5432");
}

TEST_CASE("network policies: one that does not read shuts its namespace and nothing else") {
    for (const char* text : {"", "[]", R"({"metadata":{"namespace":"shop","name":"p"}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":[]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":{}}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":[1]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"policyTypes":["Sideways"],"ingress":[{}]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":[{"ports":[{"port":0}]}]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":[{"ports":[{"port":65536}]}]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":[{"ports":[{"endPort":80}]}]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"ingress":[{"ports":[{"port":""}]}]}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{"matchLabels":{"a":1}}}})",
                             R"({"metadata":{"namespace":"shop","name":"p"},
                                 "spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}}})"}) {
        Cluster c;
        INFO(text);
        CHECK_FALSE(c.policies.put("shop", "p", text));
        CHECK(c.policies.unread() == 1);
        CHECK(c.open(c.scraper, c.web) == "none");
        CHECK(c.open(c.web, c.scraper) == "none");
        CHECK(c.open(c.scraper, c.scraper) == "all");
        c.put("p", R"({"podSelector":{},"ingress":[{}]})");
        CHECK(c.policies.unread() == 0);
        CHECK(c.open(c.scraper, c.web) == "all");
    }
}

TEST_CASE("network policies: those beyond a bound shut their namespaces, and a pod that too many select is shut") {
    Cluster c;
    c.policies = NetworkPolicies({.policies = 2, .bytes = 1000});
    c.put("a", R"({"podSelector":{},"ingress":[{}]})", "x");
    c.put("b", R"({"podSelector":{},"ingress":[{}]})", "y");
    const std::string open = R"({"metadata":{"namespace":"shop","name":"c"},"spec":{"podSelector":{},"ingress":[{}]}})";
    CHECK(c.policies.put("shop", "c", open).error().code == base::Errc::Exhausted);
    CHECK(c.open(c.scraper, c.web) == "none");
    c.policies.remove("x", "a");
    CHECK(c.policies.put("shop", "c", open));
    CHECK(c.open(c.scraper, c.web) == "all");
    c.policies.remove("y", "b");
    CHECK_FALSE(c.policies.put("shop", "long", open + std::string(1000, ' ')));

    Cluster many;
    for (int i = 0; i < 501; ++i)
        many.put("p" + std::to_string(i), R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[{"ports":[{"port":80}]}]})");
    CHECK(many.open(many.cart, many.web) == "none");
    CHECK(many.network(many.web) == many.network(many.web));  // the same each time: nothing to tell of
    many.policies.remove("shop", "p0");
    CHECK(many.open(many.cart, many.web) == "80");
}
