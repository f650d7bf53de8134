// SPDX-License-Identifier: Apache-2.0
#include "policy/dns_names.h"

#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <algorithm>
#include <map>

using namespace warren;
using namespace warren::policy;
using warren::tests::MeshFixture;

namespace {

using Names = std::vector<std::string>;

// Renders an answer: "forward", "nodata", "1.2.3.4 5.6.7.8", "cname a.b: 1.2.3.4"; addresses sorted.
std::string ask(const Snapshot& snapshot, std::string_view name, AddressType type = AddressType::V4, const NameSettings& settings = {}) {
    Random random(3);
    const NameQuestion question{name, type, snapshot.workload(MeshFixture::uid("ns1/client"))};
    REQUIRE(question.client != nullptr);
    const NameAnswer a = resolve_name(snapshot, question, settings, random);
    if (a.kind == NameAnswer::Kind::Forward) return "forward";
    CHECK(a.service);
    if (a.kind == NameAnswer::Kind::NoData) {
        CHECK(a.addresses.empty());
        CHECK(a.cname.empty());
        return "nodata";
    }
    auto list = a.addresses;
    std::sort(list.begin(), list.end());
    std::string out = a.cname.empty() ? "" : "cname " + a.cname + ":";
    for (const auto ip : list) out += (out.empty() ? "" : " ") + ip.to_string();
    return out;
}

}  // namespace

TEST_CASE("dns names: test_to_kube_fqdns") {
    struct Row {
        const char* name;
        Names expected;
    };
    const Row rows[] = {
        {"", {}},
        {"svc", {"svc.ns1.svc.cluster.local"}},
        {"svc.ns2", {"svc.ns2.svc.cluster.local", "svc.ns2.ns1.svc.cluster.local"}},
        {"svc.ns2.svc", {"svc.ns2.svc.cluster.local", "svc.ns2.svc.svc.cluster.local"}},
        {"pod.svc.ns2", {"pod.svc.ns2.svc.cluster.local"}},
        {"pod.svc.ns2.svc", {"pod.svc.ns2.svc.cluster.local"}},
        {"a.b.c.d", {}},
        {"a.b.c.d.svc", {}},
    };
    for (const Row& row : rows) CHECK(kube_expansions(row.name, "ns1", "cluster.local") == row.expected);
}

TEST_CASE("dns names: test_get_wildcards") {
    CHECK(with_wildcards("a") == Names{"a"});
    CHECK(with_wildcards("a.b.c") == Names{"a.b.c", "*.b.c", "*.c"});
    CHECK(with_wildcards("*.b.c") == Names{"*.b.c", "*.b.c", "*.c"});
}

TEST_CASE("dns names: test_has_domain, test_trim_domain: candidates keep their order, have no duplicates, strip search domains properly") {
    auto names = [](std::string_view name, const NameSettings& settings = {}) {
        Names out;
        for (const NameCandidate& c : name_candidates(name, "ns1", settings))
            out.push_back(c.stripped.empty() ? c.name : c.name + '<' + c.stripped);
        return out;
    };
    CHECK(names("a") == Names{"a", "a.ns1.svc.cluster.local"});
    CHECK(names("a.ns1.svc.cluster.local") == Names{"a.ns1.svc.cluster.local", "a<a", "a.ns1<a.ns1", "a.ns1.ns1.svc.cluster.local<a.ns1",
                                                    "a.ns1.svc<a.ns1.svc", "a.ns1.svc.svc.cluster.local<a.ns1.svc"});
    CHECK(names("ns1.svc.cluster.local") == Names{"ns1.svc.cluster.local", "ns1<ns1", "ns1.ns1.svc.cluster.local<ns1", "ns1.svc<ns1.svc",
                                                  "ns1.svc.svc.cluster.local<ns1.svc", "ns1.svc.ns1.svc.cluster.local<ns1.svc"});
    NameSettings custom;
    custom.search_domains = {"Corp.example."};
    CHECK(names("a.b.c.d.corp.example", custom) == Names{"a.b.c.d.corp.example", "a.b.c.d<a.b.c.d"});
    CHECK(names("xycorp.example", custom).size() == 3);  // not a proper subdomain: only the two expansions
    CHECK(names("corp.example", custom).size() == 3);
}

TEST_CASE("dns names: lookup") {
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1").network("n1");
    mesh.service("ns1/productpage.ns1.svc.cluster.local").vip("n1/9.9.9.9").vip("n2/8.8.8.8");
    mesh.service("ns2/example.ns2.svc.cluster.local").vip("n1/10.10.10.10");
    mesh.service("ns1/www.google.com").vip("n1/1.1.1.1");
    mesh.service("ns1/www.bing.com").vip("n1/2.2.2.2").vip("n1/3.3.3.3").vip("n1/fd00::1");
    mesh.service("ns1/*.wildcard").vip("n1/5.5.5.5");
    mesh.service("ns1/*.svc.mesh.company.net").vip("n1/6.6.6.6");
    mesh.service("ns1/details.ns2.svc.cluster.remote").vip("n1/7.7.7.7");
    mesh.service("ns1/elsewhere.ns1.svc.cluster.local").vip("n2/8.8.8.8");
    mesh.service("ns1/headless.example");
    mesh.service("ns1/headless.ns1.svc.cluster.local");
    mesh.service("ns1/empty.ns1.svc.cluster.local");
    mesh.workload("ns1/h1").ip("10.1.0.1").ip("10.1.0.9").ip("fd00::a1").network("n1").in("ns1/headless.ns1.svc.cluster.local");
    mesh.workload("ns1/h2").ip("10.1.0.2").network("n2").in("ns1/headless.ns1.svc.cluster.local").in("ns1/headless.example");
    mesh.workload("ns1/h3").ip("10.1.0.3").unhealthy().in("ns1/headless.ns1.svc.cluster.local");
    const auto s = mesh.snapshot();
    struct Row {
        const char* name;
        const char* v4;
        const char* v6 = "nodata";
    };
    const Row rows[] = {
        {"unknown.example", "forward", "forward"},
        {"", "forward", "forward"},
        {".", "forward", "forward"},
        {"productpage", "9.9.9.9"},
        {"ProductPage.", "9.9.9.9"},
        {"productpage.ns1", "9.9.9.9"},
        {"productpage.ns1.svc", "9.9.9.9"},
        {"productpage.ns1.svc.cluster.local", "9.9.9.9"},
        {"productpage.ns1.svc.cluster.local.", "9.9.9.9"},
        {"productpage.ns1.ns1.svc.cluster.local", "cname productpage.ns1: 9.9.9.9"},
        {"productpage.ns1.svc.svc.cluster.local", "cname productpage.ns1.svc: 9.9.9.9"},
        {"productpage.ns1.svc.cluster.local.cluster.local", "cname productpage.ns1.svc.cluster.local: 9.9.9.9"},
        {"productpage.ns2", "forward", "forward"},
        {"example", "forward", "forward"},
        {"example.ns2", "10.10.10.10"},
        {"www.google.com", "1.1.1.1"},
        {"www.google.com.ns1.svc.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.svc.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.cluster.local", "cname www.google.com: 1.1.1.1"},
        {"www.google.com.ns2.svc.cluster.local", "forward", "forward"},
        {"google.com", "forward", "forward"},
        {"www.bing.com", "2.2.2.2 3.3.3.3", "fd00::1"},
        {"foo.wildcard", "5.5.5.5"},
        {"a.b.c.wildcard", "5.5.5.5"},
        {"wildcard", "forward", "forward"},
        {"foo.wildcard.ns1.svc.cluster.local", "5.5.5.5"},  // a wildcard host: no CNAME
        {"foo.svc.mesh.company.net", "6.6.6.6"},
        {"mesh.company.net", "forward", "forward"},
        {"details.ns2.svc.cluster.remote", "7.7.7.7"},
        {"details.ns2.svc.cluster.remote.ns1.svc.cluster.local", "cname details.ns2.svc.cluster.remote: 7.7.7.7"},
        {"elsewhere", "nodata"},                        // only VIPs of another network
        {"headless", "10.1.0.1 10.1.0.2", "fd00::a1"},  // first address of each healthy endpoint, any network
        {"headless.example", "forward", "forward"},     // headless outside of the cluster domain
        {"empty", "nodata"},
        {"h1.headless.ns1.svc.cluster.local", "forward", "forward"},  // pod-level names are not ours
    };
    for (const Row& row : rows) {
        INFO(row.name);
        CHECK(ask(*s, row.name, AddressType::V4) == row.v4);
        CHECK(ask(*s, row.name, AddressType::V6) == row.v6);
    }
    CHECK(ask(*s, std::string(254, 'a')) == "forward");
}

TEST_CASE("dns names: ip families and the IPv6 switch answer empty, not forward") {
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    mesh.service("ns1/v4.example").vip("1.1.1.1").vip("fd00::1").families(IpFamilies::V4Only);
    mesh.service("ns1/v6.example").vip("1.1.1.1").vip("fd00::1").families(IpFamilies::V6Only);
    mesh.service("ns1/dual.example").vip("1.1.1.1").vip("fd00::1").families(IpFamilies::Dual);
    const auto s = mesh.snapshot();
    CHECK(ask(*s, "v4.example") == "1.1.1.1");
    CHECK(ask(*s, "v4.example", AddressType::V6) == "nodata");
    CHECK(ask(*s, "v6.example") == "nodata");
    CHECK(ask(*s, "v6.example", AddressType::V6) == "fd00::1");
    CHECK(ask(*s, "dual.example", AddressType::V6) == "fd00::1");
    NameSettings v4;
    v4.ipv6 = false;
    CHECK(ask(*s, "dual.example", AddressType::V6, v4) == "nodata");
    CHECK(ask(*s, "unknown.example", AddressType::V6, v4) == "forward");
}

TEST_CASE("dns names: which service of a hostname: own namespace, canonical, preferred, first; visible ones only") {
    auto mesh_with = [](std::initializer_list<std::pair<const char*, const char*>> services) {
        auto mesh = std::make_unique<MeshFixture>();
        mesh->workload("ns1/client").ip("10.0.0.1");
        for (const auto& [key, vip] : services) mesh->service(key).vip(vip);
        return mesh;
    };
    NameSettings preferred;
    preferred.preferred_namespace = "ns3";
    auto own = mesh_with({{"ns2/a.example", "2.2.2.2"}, {"ns1/a.example", "1.1.1.1"}});
    CHECK(ask(*own->snapshot(), "a.example") == "1.1.1.1");
    auto first = mesh_with({{"ns2/a.example", "2.2.2.2"}, {"ns3/a.example", "3.3.3.3"}, {"ns4/a.example", "4.4.4.4"}});
    const auto snapshot = first->snapshot();
    CHECK(ask(*snapshot, "a.example") == "2.2.2.2");
    CHECK(ask(*snapshot, "a.example", AddressType::V4, preferred) == "3.3.3.3");
    first->service("ns5/a.example").vip("5.5.5.5").canonical();
    CHECK(ask(*first->snapshot(), "a.example", AddressType::V4, preferred) == "5.5.5.5");
    auto hidden = mesh_with({});
    hidden->service("ns2/a.example").vip("2.2.2.2").canonical().namespace_only();
    CHECK(ask(*hidden->snapshot(), "a.example") == "forward");
    hidden->service("ns1/a.example").vip("1.1.1.1").namespace_only();
    CHECK(ask(*hidden->snapshot(), "a.example") == "1.1.1.1");
}

TEST_CASE("dns names: answers are shuffled, all orders come up") {
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    mesh.service("ns1/a.example").vip("1.1.1.1").vip("2.2.2.2").vip("3.3.3.3");
    const auto s = mesh.snapshot();
    Random random(5);
    std::map<std::vector<base::IpAddr>, int> orders;
    const NameQuestion question{"a.example", AddressType::V4, s->workload(MeshFixture::uid("ns1/client"))};
    for (int i = 0; i < 600; ++i) ++orders[resolve_name(*s, question, {}, random).addresses];
    CHECK(orders.size() == 6);
    for (const auto& [order, n] : orders) CHECK(n > 60);
}

TEST_CASE("dns names: a service that has only prefixes is headless") {
    MeshFixture mesh;
    mesh.workload("ns1/client").ip("10.0.0.1");
    mesh.service("ns1/range.example").cidr("", "10.9.0.0/16");
    mesh.service("ns1/range.ns1.svc.cluster.local").cidr("", "10.8.0.0/16");
    mesh.workload("ns1/e").ip("10.1.0.1").in("ns1/range.ns1.svc.cluster.local");
    const auto s = mesh.snapshot();
    CHECK(ask(*s, "range.example") == "forward");
    CHECK(ask(*s, "range") == "10.1.0.1");
}
