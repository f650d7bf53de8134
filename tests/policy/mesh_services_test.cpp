// SPDX-License-Identifier: Apache-2.0
// Which service an address or hostname means, data-plane contract 5.1. Tags name the rows of contract 11.5.
#include "tests/policy/mesh_builder.h"

#include "tests/catch.h"

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

struct Services {
    Mesh mesh;
    std::shared_ptr<const Snapshot> now = mesh.snapshot();

    void put(std::vector<ServiceSpec> specs) {
        Batch b;
        for (const ServiceSpec& s : specs) b.services.push_back(service(s));
        now = mesh.apply(std::move(b));
    }
    void remove(std::vector<std::string> keys) {
        Batch b;
        b.removed_addresses = std::move(keys);
        now = mesh.apply(std::move(b));
    }
    [[nodiscard]] std::string vip(const NetworkAddress& address, std::string_view client_ns) const {
        const Text ns(client_ns);
        return key_of(now->service_by_vip(address, &ns));
    }
    [[nodiscard]] std::string vip(const NetworkAddress& address) const { return key_of(now->service_by_vip(address, nullptr)); }
    [[nodiscard]] std::string host(std::string_view hostname, std::string_view client_ns) const {
        const Text ns(client_ns);
        return key_of(now->service_by_hostname(hostname, &ns));
    }
    [[nodiscard]] std::string host(std::string_view hostname) const { return key_of(now->service_by_hostname(hostname, nullptr)); }
};

NetworkCidr net(std::string_view prefix, std::string_view network = "") { return {Text(network), cidr(prefix)}; }
ServiceSpec on_vip(std::string ns, bool canonical = false, Visibility visibility = Visibility::Public) {
    return {.ns = std::move(ns), .hostname = "shared.example", .vips = {at("10.1.0.1")}, .visibility = visibility, .canonical = canonical};
}
ServiceSpec on_net(std::string ns, std::string hostname, std::vector<NetworkCidr> nets) {
    return {.ns = std::move(ns), .hostname = std::move(hostname), .cidrs = std::move(nets)};
}

}  // namespace

TEST_CASE("services: of several on one address the client's namespace wins, then canonical, then the first",
          "[shared_vip_different_namespaces]") {
    Services s;
    s.put({on_vip("a"), on_vip("b"), on_vip("c")});
    CHECK(s.vip(at("10.1.0.1"), "b") == "b/shared.example");
    CHECK(s.vip(at("10.1.0.1"), "x") == "a/shared.example");
    CHECK(s.vip(at("10.1.0.1")) == "a/shared.example");
    s.put({on_vip("b", true)});
    CHECK(s.vip(at("10.1.0.1"), "x") == "b/shared.example");
    CHECK(s.vip(at("10.1.0.1"), "a") == "a/shared.example");
    s.put({on_vip("c", true)});
    CHECK(s.vip(at("10.1.0.1"), "x") == "c/shared.example");  // the last canonical one
    s.remove({"c/shared.example"});
    CHECK(s.vip(at("10.1.0.1"), "c") == "b/shared.example");
    s.remove({"b/shared.example"});
    CHECK(s.vip(at("10.1.0.1"), "b") == "a/shared.example");
    s.put({on_vip("b")});
    CHECK(s.vip(at("10.1.0.1"), "x") == "a/shared.example");
    s.remove({"a/shared.example"});
    CHECK(s.vip(at("10.1.0.1"), "x") == "b/shared.example");
    s.remove({"b/shared.example"});
    CHECK(s.vip(at("10.1.0.1")).empty());
}

TEST_CASE("services: an update keeps the place in the order of arrival") {
    Services s;
    s.put({on_vip("a"), on_vip("b")});
    ServiceSpec a = on_vip("a");
    a.vips.push_back(at("10.1.0.2"));
    s.put({a});
    CHECK(s.vip(at("10.1.0.1"), "x") == "a/shared.example");
    CHECK(s.vip(at("10.1.0.2"), "x") == "a/shared.example");
    const auto all = s.now->services_by_hostname("shared.example");
    REQUIRE(all.size() == 2);
    CHECK(key_of(all[0]) == "a/shared.example");
    CHECK(key_of(all[1]) == "b/shared.example");
    a.vips = {at("10.1.0.2")};
    s.put({a});
    CHECK(s.vip(at("10.1.0.1"), "a") == "b/shared.example");
}

TEST_CASE("services: a private one is used by its own namespace only", "[namespace_visibility_vip]") {
    Services s;
    s.put({on_vip("a", true, Visibility::Namespace), on_vip("b")});
    CHECK(s.vip(at("10.1.0.1"), "a") == "a/shared.example");
    CHECK(s.vip(at("10.1.0.1"), "x") == "b/shared.example");
    CHECK(s.vip(at("10.1.0.1")) == "a/shared.example");  // no client sees everything
    s.remove({"b/shared.example"});
    CHECK(s.vip(at("10.1.0.1"), "x").empty());
    CHECK(s.vip(at("10.1.0.1"), "a") == "a/shared.example");
    s.put({on_vip("a")});
    CHECK(s.vip(at("10.1.0.1"), "x") == "a/shared.example");
}

TEST_CASE("services: a private hostname is resolved in its own namespace only", "[namespace_visibility_host]") {
    Services s;
    s.put({on_vip("a", true, Visibility::Namespace), on_vip("b"), on_vip("c")});
    CHECK(s.host("shared.example", "a") == "a/shared.example");
    CHECK(s.host("shared.example", "c") == "c/shared.example");
    CHECK(s.host("shared.example", "x") == "b/shared.example");
    CHECK(s.host("shared.example") == "a/shared.example");
    CHECK(s.host("other.example").empty());
    CHECK(s.now->services_by_hostname("shared.example").size() == 3);
    CHECK(s.now->services_by_hostname("other.example").empty());
    // The namespaced name asks nobody's permission.
    CHECK(key_of(s.now->service("a/shared.example")) == "a/shared.example");
    s.remove({"b/shared.example", "c/shared.example"});
    CHECK(s.host("shared.example", "x").empty());
}

TEST_CASE("services: an exact address that is invisible does not end the search", "[visibility_filtered_exact_vip_falls_through_to_cidr]") {
    Services s;
    s.put({on_vip("a", false, Visibility::Namespace), on_net("b", "net", {net("10.1.0.0/16")})});
    CHECK(s.vip(at("10.1.0.1"), "a") == "a/shared.example");
    CHECK(s.vip(at("10.1.0.1"), "x") == "b/net");
    ServiceSpec hidden = on_net("b", "net", {net("10.1.0.0/16")});
    hidden.visibility = Visibility::Namespace;
    s.put({hidden});
    CHECK(s.vip(at("10.1.0.1"), "x").empty());
    CHECK(s.vip(at("10.1.0.1"), "b") == "b/net");
}

TEST_CASE("services: an IPv4 prefix covers its addresses", "[cidr_match_v4]") {
    Services s;
    s.put({on_net("a", "net", {net("10.2.0.0/16")})});
    CHECK(s.vip(at("10.2.0.0")) == "a/net");
    CHECK(s.vip(at("10.2.255.255")) == "a/net");
    CHECK(s.vip(at("10.3.0.0")).empty());
    CHECK(s.vip(at("10.1.255.255")).empty());
}

TEST_CASE("services: an IPv6 prefix covers its addresses", "[cidr_match_v6]") {
    Services s;
    s.put({on_net("a", "net", {net("2001:db8::/61")})});
    CHECK(s.vip(at("2001:db8::")) == "a/net");
    CHECK(s.vip(at("2001:db8:0:7:ffff::1")) == "a/net");
    CHECK(s.vip(at("2001:db8:0:8::")).empty());
}

TEST_CASE("services: the longest IPv4 prefix wins", "[longest_prefix_match_v4]") {
    Services s;
    s.put({on_net("a", "wide", {net("10.0.0.0/8")}), on_net("a", "all", {net("0.0.0.0/0")}), on_net("a", "narrow", {net("10.2.3.0/24")}),
           on_net("a", "middle", {net("10.2.0.0/16")})});
    CHECK(s.vip(at("10.2.3.4")) == "a/narrow");
    CHECK(s.vip(at("10.2.4.4")) == "a/middle");
    CHECK(s.vip(at("10.9.9.9")) == "a/wide");
    CHECK(s.vip(at("11.0.0.1")) == "a/all");
}

TEST_CASE("services: the longest IPv6 prefix wins", "[longest_prefix_match_v6]") {
    Services s;
    s.put({on_net("a", "wide", {net("2001:db8::/32")}), on_net("a", "narrow", {net("2001:db8:1::/48")}),
           on_net("a", "narrower", {net("2001:db8:1:1::/127")})});
    CHECK(s.vip(at("2001:db8:1:1::1")) == "a/narrower");
    CHECK(s.vip(at("2001:db8:1::1")) == "a/narrow");
    CHECK(s.vip(at("2001:db8:2::1")) == "a/wide");
}

TEST_CASE("services: one service may cover both families", "[dual_stack_cidr]") {
    Services s;
    s.put({on_net("a", "net", {net("10.2.0.0/16"), net("2001:db8::/32")})});
    CHECK(s.vip(at("10.2.1.1")) == "a/net");
    CHECK(s.vip(at("2001:db8::1")) == "a/net");
}

TEST_CASE("services: a prefix never covers the other family", "[cidr_family_mismatch]") {
    Services s;
    s.put({on_net("a", "v6", {net("::/0")})});
    CHECK(s.vip(at("10.2.1.1")).empty());
    CHECK(s.vip(at("::ffff:10.2.1.1")).empty());
    CHECK(s.vip(at("2001:db8::1")) == "a/v6");
    s.remove({"a/v6"});
    s.put({on_net("a", "v4", {net("0.0.0.0/0")})});
    CHECK(s.vip(at("2001:db8::1")).empty());
    CHECK(s.vip(at("10.2.1.1")) == "a/v4");
}

TEST_CASE("services: an exact IPv4 address stands beside an IPv6 prefix", "[exact_v4_with_cidr_v6]") {
    Services s;
    ServiceSpec both = on_net("a", "both", {net("2001:db8::/32")});
    both.vips = {at("10.1.0.1")};
    s.put({both});
    CHECK(s.vip(at("10.1.0.1")) == "a/both");
    CHECK(s.vip(at("10.1.0.2")).empty());
    CHECK(s.vip(at("2001:db8::5")) == "a/both");
}

TEST_CASE("services: an exact address comes before any prefix", "[exact_match_priority_over_cidr_v4][exact_match_priority_over_cidr_v6]") {
    Services s;
    ServiceSpec exact{.ns = "b", .hostname = "exact", .vips = {at("10.1.0.1"), at("2001:db8::1")}};
    // Even before one of the client's own namespace that covers this very address.
    s.put({on_net("a", "net", {net("10.1.0.1/32"), net("10.1.0.0/16"), net("2001:db8::/32")}), exact});
    CHECK(s.vip(at("10.1.0.1"), "a") == "b/exact");
    CHECK(s.vip(at("2001:db8::1"), "a") == "b/exact");
    CHECK(s.vip(at("10.1.0.2"), "b") == "a/net");
    CHECK(s.vip(at("2001:db8::2"), "b") == "a/net");
}

TEST_CASE("services: a prefix belongs to its network", "[cidr_network_scoping]") {
    Services s;
    s.put({on_net("a", "one", {net("10.2.0.0/16", "one")}), on_net("a", "two", {net("10.2.0.0/16", "two")})});
    CHECK(s.vip(at("one", "10.2.0.1")) == "a/one");
    CHECK(s.vip(at("two", "10.2.0.1")) == "a/two");
    CHECK(s.vip(at("10.2.0.1")).empty());
}

TEST_CASE("services: prefixes go with their service and stale ones never answer", "[cidr_remove_cleanup]") {
    Services s;
    s.put({on_net("a", "net", {net("10.2.0.0/16"), net("10.3.0.0/24")})});
    s.put({on_net("a", "net", {net("10.3.0.0/24"), net("10.4.0.0/24")})});
    CHECK(s.vip(at("10.2.0.1")).empty());
    CHECK(s.vip(at("10.3.0.1")) == "a/net");
    CHECK(s.vip(at("10.4.0.1")) == "a/net");
    // Endpoints that change do not leave an older entry behind (quirk A1).
    Batch b;
    b.workloads.push_back(workload({.uid = "w", .addresses = {"10.0.0.1"}, .services = {"a/net"}}));
    s.now = s.mesh.apply(std::move(b));
    CHECK(s.now->service_by_vip(at("10.3.0.1"), nullptr) == s.now->service("a/net"));
    CHECK(s.now->service_by_vip(at("10.3.0.1"), nullptr)->endpoints.size() == 1);
    s.remove({"a/net"});
    CHECK(s.vip(at("10.3.0.1")).empty());
    CHECK(s.vip(at("10.4.0.1")).empty());
}

TEST_CASE("services: of one prefix in several namespaces the client's wins, then canonical, then the oldest",
          "[overlapping_cidr_different_namespaces]") {
    Services s;
    s.put({on_net("a", "net", {net("10.2.0.0/16")}), on_net("b", "net", {net("10.2.0.0/16")}), on_net("c", "net", {net("10.2.0.0/16")})});
    CHECK(s.vip(at("10.2.0.1"), "b") == "b/net");
    CHECK(s.vip(at("10.2.0.1"), "x") == "a/net");
    ServiceSpec b = on_net("b", "net", {net("10.2.0.0/16")});
    ServiceSpec c = on_net("c", "net", {net("10.2.0.0/16")});
    b.canonical = c.canonical = true;
    s.put({b, c});
    CHECK(s.vip(at("10.2.0.1"), "x") == "b/net");  // of equal rank the oldest, unlike with exact addresses
    CHECK(s.vip(at("10.2.0.1"), "a") == "a/net");
    s.remove({"b/net"});
    CHECK(s.vip(at("10.2.0.1"), "x") == "c/net");
}

TEST_CASE("services: the client's namespace comes before a longer prefix, and that before canonical",
          "[cidr_namespace_preferred_over_cidr_specificity]") {
    Services s;
    ServiceSpec wide = on_net("c", "canonical", {net("10.0.0.0/8")});
    wide.canonical = true;
    s.put({on_net("a", "wide", {net("10.0.0.0/8")}), on_net("b", "narrow", {net("10.2.3.0/24")}), wide});
    CHECK(s.vip(at("10.2.3.4"), "a") == "a/wide");
    CHECK(s.vip(at("10.2.3.4"), "b") == "b/narrow");
    CHECK(s.vip(at("10.2.3.4"), "x") == "b/narrow");
    CHECK(s.vip(at("10.2.3.4")) == "b/narrow");
    CHECK(s.vip(at("10.9.9.9"), "x") == "c/canonical");
    // Two of the client's own namespace on one prefix: canonical, then the oldest.
    ServiceSpec second = on_net("a", "second", {net("10.0.0.0/8")});
    s.put({second});
    CHECK(s.vip(at("10.2.3.4"), "a") == "a/wide");
    second.canonical = true;
    s.put({second});
    CHECK(s.vip(at("10.2.3.4"), "a") == "a/second");
}
