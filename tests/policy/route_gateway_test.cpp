// SPDX-License-Identifier: Apache-2.0
// Waypoints (contract 5.4), other networks (5.5), and the waypoint's own traffic.
#include "policy/route.h"

#include "tests/catch.h"
#include "tests/policy/route_fixture.h"

#include <map>

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

constexpr const char* kWeb = "ns1/web.example";
constexpr const char* kWaypoint = "ns1/waypoint.example";
constexpr const char* kGateway = "ns1/gateway.example";

std::string sa(std::string_view account) { return "spiffe://cluster.local/ns/ns1/sa/" + std::string(account); }

using Uris = std::vector<std::string>;

}  // namespace

TEST_CASE("route: build_request_source_waypoint, the source's own waypoint is not used") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1").waypoint("10.0.0.9");
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").hbone();
    CHECK(line(scene.to("10.0.0.2:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:80");
}

TEST_CASE("route: build_request_destination_waypoint, always HBONE, authority untouched") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9").account("wp");  // not an HBONE workload by its record
    scene.mesh.workload("ns1/web").ip("10.0.0.2").waypoint("10.0.0.9", 15010);
    const Route r = scene.to("10.0.0.2:80");
    CHECK(line(r) == "hbone 10.0.0.9:15010 authority 10.0.0.2:80");
    CHECK(r.via == Via::WorkloadWaypoint);
    CHECK(uris(r.peer_identities) == Uris{sa("wp")});
    CHECK(name_of(r.endpoint) == "waypoint");
    CHECK(name_of(r.destination) == "web");
}

TEST_CASE("route: build_request_destination_waypoint_mismatch_ip, the family follows the configured address") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.workload("ns1/waypoint").ip("fd00::9").ip("10.0.0.9");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").waypoint("10.0.0.9");
    CHECK(line(scene.to("[fd00::2]:80")) == "hbone 10.0.0.9:15008 authority [fd00::2]:80");
    // By hostname it follows the original destination.
    scene.mesh.service(kWaypoint).port(15008, 15008);
    scene.mesh.workload("ns1/waypoint").ip("fd00::9").ip("10.0.0.9").in(kWaypoint);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").waypoint(kWaypoint);
    CHECK(line(scene.to("[fd00::2]:80")) == "hbone [fd00::9]:15008 authority [fd00::2]:80");
    CHECK(line(scene.to("10.0.0.2:80")) == "hbone 10.0.0.9:15008 authority 10.0.0.2:80");
}

TEST_CASE("route: build_request_destination_svc_waypoint") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWaypoint).vip("10.1.0.9").port(15008, 15018).san(sa("extra"));
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9").account("wp").in(kWaypoint);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").hbone().in(kWeb);
    for (const char* form : {"10.1.0.9", "ns1/waypoint.example"}) {
        scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).waypoint(form);
        const Route r = scene.to("10.1.0.1:80");
        CHECK(line(r) == "hbone 10.0.0.9:15018 authority 10.1.0.1:80");
        CHECK(r.via == Via::ServiceWaypoint);
        CHECK(uris(r.peer_identities) == Uris{sa("extra"), sa("wp")});
        CHECK(r.service->key == kWeb);
        CHECK_FALSE(r.destination);
    }
    CHECK(line(scene.to("10.0.0.2:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:80");  // workload-addressed: not the service's
}

TEST_CASE("route: service_waypoint_workload_hostname: a waypoint by the hostname of a workload") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9").hostname("wp.example");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).waypoint("ns1/wp.example", 15010);
    CHECK(line(scene.to("10.1.0.1:80")) == "hbone 10.0.0.9:15010 authority 10.1.0.1:80");
    scene.mesh.workload("ns1/waypoint").hostname("wp.example");
    Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "hbone wp.example:15010 authority 10.1.0.1:80");
    set_resolved(r, ip("192.168.0.1"));
    CHECK(line(r) == "hbone 192.168.0.1:15010 authority 10.1.0.1:80");
}

TEST_CASE("route: a service destination bypasses workload waypoints") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").waypoint("10.0.0.9").in(kWeb);
    CHECK(line(scene.to("10.1.0.1:80")) == "direct 10.0.0.2:8080");
}

TEST_CASE("route: a waypoint that nobody knows or that has no endpoint refuses, there is no fallback") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).waypoint("10.0.0.9");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").waypoint("ns1/nobody.example").in(kWeb);
    const Route by_service = scene.to("10.1.0.1:80");
    CHECK(line(by_service) == "refuse unknown_waypoint");
    CHECK(by_service.via == Via::ServiceWaypoint);
    const Route by_workload = scene.to("10.0.0.2:80");
    CHECK(line(by_workload) == "refuse unknown_waypoint");
    CHECK(by_workload.via == Via::WorkloadWaypoint);
    scene.mesh.service(kWaypoint).vip("10.0.0.9").port(15008, 15008);
    CHECK(line(scene.to("10.1.0.1:80")) == "refuse no_healthy_upstream");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").waypoint(kWaypoint).in(kWeb);
    CHECK(line(scene.to("10.0.0.2:80")) == "refuse no_healthy_upstream");
}

TEST_CASE("route: from_own_waypoint, the waypoint itself reaches the workload directly") {
    for (const char* form : {"10.0.0.9", "ns1/waypoint.example", "10.1.0.9"}) {
        RouteScene scene;
        scene.mesh.service(kWaypoint).vip("10.1.0.9").port(15008, 15008);
        scene.mesh.workload("ns1/waypoint").ip("10.0.0.9").account("wp").in(kWaypoint);
        scene.mesh.workload("ns1/client").ip("10.0.0.1");
        scene.mesh.workload("ns1/impostor").ip("10.0.0.8").account("wp");
        scene.mesh.workload("ns1/web").ip("10.0.0.2").hbone().waypoint(form);
        scene.source = "ns1/waypoint";
        scene.client = "10.0.0.9";
        CHECK(line(scene.to("10.0.0.2:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:80");
        const std::string through = "hbone 10.0.0.9:15008 authority 10.0.0.2:80";
        scene.client = "10.0.0.77";  // the identity alone is not enough
        CHECK(line(scene.to("10.0.0.2:80")) == through);
        scene.source = "ns1/client";  // nor the address
        scene.client = "10.0.0.9";
        CHECK(line(scene.to("10.0.0.2:80")) == through);
        scene.source = "ns1/impostor";
        scene.client = "10.0.0.8";
        CHECK(line(scene.to("10.0.0.2:80")) == through);
    }
}

TEST_CASE("route: test_sample_weighted_waypoint") {
    auto build = [](std::initializer_list<uint32_t> weights, bool single) {
        auto scene = std::make_unique<RouteScene>();
        scene->mesh.workload("ns1/client").ip("10.0.0.1");
        auto service = scene->mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
        scene->mesh.workload("ns1/web").ip("10.0.0.2").in(kWeb);
        int i = 0;
        for (const uint32_t weight : weights) {
            const std::string n = std::to_string(i++);
            scene->mesh.workload("ns1/w" + n).ip("10.0.9." + n);
            service.weighted_waypoint("10.0.9." + n, weight);
        }
        scene->mesh.workload("ns1/single").ip("10.0.8.1");
        if (single) service.waypoint("10.0.8.1");
        return scene;
    };
    auto count = [](RouteScene& scene) {
        std::map<std::string, int> hits;
        scene.to("10.1.0.1:80");
        for (uint64_t seed = 0; seed < 4000; ++seed) ++hits[name_of(scene.again("10.1.0.1:80", seed).endpoint)];
        return hits;
    };
    auto weighted = build({1, 0, 3}, true);
    const auto hits = count(*weighted);
    CHECK(hits.size() == 2);  // neither the weightless one nor the single one
    CHECK(hits.at("w0") + hits.at("w2") == 4000);
    const double chi =
        (hits.at("w0") - 1000.0) * (hits.at("w0") - 1000.0) / 1000 + (hits.at("w2") - 3000.0) * (hits.at("w2") - 3000.0) / 3000;
    CHECK(chi < 10.83);  // p = 0.001, one degree of freedom
    auto zero = build({0, 0}, true);
    CHECK(count(*zero) == std::map<std::string, int>{{"single", 4000}});
    auto none = build({0, 0}, false);
    CHECK(count(*none) == std::map<std::string, int>{{"web", 4000}});
}

TEST_CASE("route: build_request_wrong_network, another network without a service or without a gateway refuses") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/remote").ip("10.0.0.2").network("remote").hbone().in(kWeb);
    const Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "refuse unknown_gateway");
    CHECK(r.via == Via::NetworkGateway);
    CHECK(line(scene.to("10.0.0.2:80")) == "passthrough 10.0.0.2:80 passthrough_unknown");  // not in this network's index
    scene.mesh.workload("ns1/remote").ip("10.0.0.2").network("remote").network_gateway("remote/10.9.0.1").hbone().in(kWeb);
    CHECK(line(scene.to("10.1.0.1:80")) == "refuse unknown_gateway");  // nobody known there
    scene.mesh.workload("ns1/remote").ip("10.0.0.2").network("remote").network_gateway(kGateway).hbone().in(kWeb);
    scene.mesh.service(kGateway).port(15008, 15008);
    CHECK(line(scene.to("10.1.0.1:80")) == "refuse no_healthy_upstream");
}

TEST_CASE("route: step 12, a remote workload behind an address that does not count as a service refuses") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.0.0.5").port(80, 8080);
    scene.mesh.workload("ns1/both").ip("10.0.0.5");  // quirk A4: the workload owns the address
    scene.mesh.workload("ns1/remote").ip("10.0.0.2").network("remote").network_gateway("remote/10.9.0.1").in(kWeb);
    scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote");
    CHECK(line(scene.to("10.0.0.5:80")) == "refuse cross_network_no_service");
}

TEST_CASE("route: build_request_double_hbone, gateway by address, by hostname, by hostname of a workload") {
    for (const char* form : {"remote/10.9.0.1", "ns1/gateway.example", "ns1/gateway-workload.example"}) {
        RouteScene scene;
        scene.mesh.workload("ns1/client").ip("10.0.0.1");
        scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).san(sa("svc"));
        scene.mesh.workload("ns1/remote").network("remote").network_gateway(form, 15009).hbone().in(kWeb);
        scene.mesh.service(kGateway).port(15009, 15009);
        scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote").account("gw").hostname("gateway-workload.example").in(kGateway);
        const Route r = scene.to("10.1.0.1:80");
        CHECK(line(r) == "double 10.9.0.1:15009 authority web.example:80");
        CHECK(r.via == Via::NetworkGateway);
        CHECK(uris(r.peer_identities) == Uris{sa("gw")});
        CHECK(uris(r.inner_identities) == Uris{sa("svc")});  // never the remote workload's own
        CHECK(name_of(r.endpoint) == "gateway");
        CHECK(name_of(r.destination) == "remote");
        CHECK(r.service->key == kWeb);
    }
}

TEST_CASE("route: build_request_double_hbone without service names leaves the inner list empty, which always fails") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/remote").network("remote").network_gateway("remote/10.9.0.1").in(kWeb);
    scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote");
    const Route r = scene.to("10.1.0.1:80");
    CHECK(r.action == RouteAction::DoubleHbone);
    CHECK(r.inner_identities.empty());
}

TEST_CASE("route: build_request_double_hbone to a remote waypoint") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).san(sa("svc")).waypoint(kWaypoint);
    scene.mesh.service(kWaypoint).port(15008, 15008).san(sa("wp-svc"));
    scene.mesh.workload("ns1/waypoint").network("remote").network_gateway("remote/10.9.0.1", 15009).account("wp").in(kWaypoint);
    scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote").account("gw");
    const Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "double 10.9.0.1:15009 authority web.example:80");
    CHECK(uris(r.peer_identities) == Uris{sa("gw")});
    CHECK(uris(r.inner_identities) == Uris{sa("wp-svc")});
    CHECK_FALSE(r.destination);
}

TEST_CASE("route: build_request_failover_to_remote") {
    RouteScene scene;
    auto local = [&](bool healthy) {
        auto w = scene.mesh.workload("ns1/local").ip("10.0.0.2").hbone().in(kWeb);
        if (!healthy) w.unhealthy();
    };
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).balance(LbMode::Failover, {LbScope::Network});
    scene.mesh.workload("ns1/remote").network("remote").network_gateway("remote/10.9.0.1", 15009).hbone().in(kWeb);
    scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote");
    local(true);
    CHECK(line(scene.to("10.1.0.1:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:8080");
    local(false);
    CHECK(line(scene.to("10.1.0.1:80")) == "double 10.9.0.1:15009 authority web.example:80");
    local(true);
    CHECK(line(scene.to("10.1.0.1:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:8080");
}

TEST_CASE("route: the gateway's own address must be usable") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/remote").network("remote").network_gateway("ns1/gw.example").in(kWeb);
    scene.mesh.workload("ns1/gateway").network("remote").hostname("gw.example");
    CHECK(line(scene.to("10.1.0.1:80")) == "double gw.example:15008 authority web.example:80");
    scene.mesh.service(kGateway).port(15008, 15008).families(IpFamilies::V6Only);
    scene.mesh.workload("ns1/gateway").ip("10.9.0.1").network("remote").in(kGateway);
    scene.mesh.workload("ns1/remote").network("remote").network_gateway(kGateway).in(kWeb);
    CHECK(line(scene.to("10.1.0.1:80")) == "refuse no_address");
}
