// SPDX-License-Identifier: Apache-2.0
// The steps of contract 5.2 and 5.3; gateways and waypoints are in route_gateway_test.cpp.
#include "policy/route.h"

#include "tests/catch.h"
#include "tests/policy/route_fixture.h"

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

constexpr const char* kWeb = "ns1/web.example";
constexpr const char* kDefault = "spiffe://cluster.local/ns/ns1/sa/default";

}  // namespace

TEST_CASE("route: step 1, loopback destinations on ports of the tunnel are refused") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    for (const char* destination : {"127.0.0.1:15001", "127.0.0.1:15006", "127.9.9.9:15008", "[::1]:15008", "[::ffff:127.0.0.1]:15001"})
        CHECK(line(scene.to(destination)) == "refuse self_call");
    CHECK(line(scene.to("127.0.0.1:15053")) == "passthrough 127.0.0.1:15053 passthrough_unknown");
    CHECK(line(scene.to("10.0.0.9:15008")) == "passthrough 10.0.0.9:15008 passthrough_unknown");
    scene.loopback_ports_illegal = false;
    CHECK(line(scene.to("127.0.0.1:15008")) == "passthrough 127.0.0.1:15008 passthrough_unknown");
    scene.loopback_ports_illegal = true;
    scene.source = "ns1/nobody";  // the self call is seen before the source is looked for
    CHECK(line(scene.to("127.0.0.1:15008")) == "refuse self_call");
}

TEST_CASE("route: step 2, an unknown source is refused") {
    RouteScene scene;
    CHECK(line(scene.to("10.0.0.2:80")) == "refuse unknown_source");
}

TEST_CASE("route: build_request_unknown_dest") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1").hbone();
    const Route r = scene.to("1.2.3.4:80");
    CHECK(line(r) == "passthrough 1.2.3.4:80 passthrough_unknown");
    CHECK(r.peer_identities.empty());
    CHECK_FALSE(r.endpoint);
    CHECK(line(scene.to("[fd00::9]:80")) == "passthrough [fd00::9]:80 passthrough_unknown");
}

TEST_CASE("route: build_request_known_dest_{local,remote}_node_{tcp,hbone}, the node does not matter") {
    for (const char* node : {"node-a", "node-b"}) {
        RouteScene scene;
        scene.mesh.workload("ns1/client").ip("10.0.0.1").node("node-a");
        scene.mesh.workload("ns1/tcp").ip("10.0.0.2").node(node);
        scene.mesh.workload("ns1/hbone").ip("10.0.0.3").ip("fd00::3").node(node).hbone().account("app");
        const Route tcp = scene.to("10.0.0.2:80");
        CHECK(line(tcp) == "direct 10.0.0.2:80");
        CHECK(name_of(tcp.endpoint) == "tcp");
        CHECK(name_of(tcp.destination) == "tcp");
        CHECK(tcp.peer_identities.empty());
        const Route hbone = scene.to("10.0.0.3:80");
        CHECK(line(hbone) == "hbone 10.0.0.3:15008 authority 10.0.0.3:80");
        CHECK(uris(hbone.peer_identities) == std::vector<std::string>{"spiffe://cluster.local/ns/ns1/sa/app"});
        CHECK(hbone.destination_port == 80);
        CHECK(hbone.via == Via::Nothing);
        CHECK(line(scene.to("[fd00::3]:80")) == "hbone [fd00::3]:15008 authority [fd00::3]:80");
    }
}

TEST_CASE("route: build_request_target_port, service identities come before the workload's") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).san("spiffe://cluster.local/ns/ns1/sa/extra");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").hbone().in(kWeb);
    const Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "hbone 10.0.0.2:15008 authority 10.0.0.2:8080");
    CHECK(uris(r.peer_identities) == std::vector<std::string>{"spiffe://cluster.local/ns/ns1/sa/extra", kDefault});
    CHECK(r.destination_port == 8080);
    REQUIRE(r.service);
    CHECK(r.service->key == kWeb);
    // Addressed by its own IP, the service's names do not count and the port is taken as it is.
    const Route direct = scene.to("10.0.0.2:80");
    CHECK(line(direct) == "hbone 10.0.0.2:15008 authority 10.0.0.2:80");
    CHECK(uris(direct.peer_identities) == std::vector<std::string>{kDefault});
    CHECK_FALSE(direct.service);
}

TEST_CASE("route: build_request_empty_service and a port that the service lacks") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    const Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "refuse no_healthy_upstream");
    REQUIRE(r.service);
    CHECK(r.service->hostname == "web.example");
    CHECK(line(scene.to("10.1.0.1:81")) == "refuse no_such_port");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").unhealthy().in(kWeb);
    CHECK(line(scene.to("10.1.0.1:80")) == "refuse no_healthy_upstream");
    CHECK(line(scene.to("10.0.0.2:80")) == "direct 10.0.0.2:80");  // health does not matter for a pod address
}

TEST_CASE("route: build_request_host_network") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("192.168.0.1").host_network().in(kWeb);
    CHECK(line(scene.to("192.168.0.1:80")) == "passthrough 192.168.0.1:80 passthrough_unknown");
    CHECK(line(scene.to("10.1.0.1:80")) == "direct 192.168.0.1:8080");
}

TEST_CASE("route: build_request_passthrough_svc(_with_waypoint)") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).balance(LbMode::Passthrough);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").hbone().in(kWeb);
    const Route r = scene.to("10.1.0.1:80");
    CHECK(line(r) == "passthrough 10.1.0.1:80 passthrough_service");
    REQUIRE(r.service);
    CHECK_FALSE(r.endpoint);
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).balance(LbMode::Passthrough).waypoint("10.0.0.9");
    CHECK(line(scene.to("10.1.0.1:80")) == "hbone 10.0.0.9:15008 authority 10.1.0.1:80");
}

TEST_CASE("route: multiple_address_workload") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").vip("fd01::1").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").ip("10.0.0.3").hbone().in(kWeb);
    CHECK(line(scene.to("10.0.0.2:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:80");
    CHECK(line(scene.to("10.0.0.3:80")) == "hbone 10.0.0.3:15008 authority 10.0.0.3:80");
    CHECK(line(scene.to("[fd00::2]:80")) == "hbone [fd00::2]:15008 authority [fd00::2]:80");
    CHECK(line(scene.to("10.1.0.1:80")) == "hbone 10.0.0.2:15008 authority 10.0.0.2:8080");
    CHECK(line(scene.to("[fd01::1]:80")) == "hbone [fd00::2]:15008 authority [fd00::2]:8080");
}

TEST_CASE("route: service_ip_families") {
    struct Row {
        IpFamilies families;
        const char* addresses[2];
        const char* v4;
        const char* v6;
    };
    const Row rows[] = {
        {IpFamilies::Automatic, {"10.0.0.2", "fd00::2"}, "direct 10.0.0.2:8080", "direct [fd00::2]:8080"},
        {IpFamilies::Dual, {"10.0.0.2", "fd00::2"}, "direct 10.0.0.2:8080", "direct [fd00::2]:8080"},
        {IpFamilies::V4Only, {"10.0.0.2", "fd00::2"}, "direct 10.0.0.2:8080", "direct 10.0.0.2:8080"},
        {IpFamilies::V6Only, {"10.0.0.2", "fd00::2"}, "direct [fd00::2]:8080", "direct [fd00::2]:8080"},
        {IpFamilies::Automatic, {"10.0.0.2", nullptr}, "direct 10.0.0.2:8080", "direct 10.0.0.2:8080"},
        {IpFamilies::Automatic, {"fd00::2", nullptr}, "direct [fd00::2]:8080", "direct [fd00::2]:8080"},
        {IpFamilies::V6Only, {"10.0.0.2", nullptr}, "refuse no_address", "refuse no_address"},
        {IpFamilies::V4Only, {"fd00::2", nullptr}, "refuse no_address", "refuse no_address"},
    };
    for (const Row& row : rows) {
        RouteScene scene;
        scene.mesh.workload("ns1/client").ip("10.0.0.1");
        scene.mesh.service(kWeb).vip("10.1.0.1").vip("fd01::1").port(80, 8080).families(row.families);
        auto web = scene.mesh.workload("ns1/web").in(kWeb);
        for (const char* address : row.addresses)
            if (address != nullptr) web.ip(address);
        CHECK(line(scene.to("10.1.0.1:80")) == row.v4);
        CHECK(line(scene.to("[fd01::1]:80")) == row.v6);
    }
}

TEST_CASE("route: a hostname endpoint comes back to be resolved") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).port(81, 8081);
    scene.mesh.workload("ns1/vm").hostname("vm.example").in(kWeb);
    Route tcp = scene.to("10.1.0.1:80");
    CHECK(line(tcp) == "direct vm.example:8080");
    set_resolved(tcp, ip("192.168.1.1"));
    CHECK(line(tcp) == "direct 192.168.1.1:8080");
    scene.mesh.workload("ns1/vm").hostname("vm.example").hbone().in(kWeb);
    Route hbone = scene.to("10.1.0.1:81");
    CHECK(line(hbone) == "hbone vm.example:15008 authority ");
    CHECK(uris(hbone.peer_identities) == std::vector<std::string>{kDefault});
    set_resolved(hbone, ip("fd00::7"));
    CHECK(line(hbone) == "hbone [fd00::7]:15008 authority [fd00::7]:8081");
}

TEST_CASE("route: visibility, a service of another namespace that is not public is not there") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service("ns2/web.example").vip("10.1.0.1").port(80, 8080).namespace_only();
    scene.mesh.workload("ns2/web").ip("10.0.0.2").in("ns2/web.example");
    CHECK(line(scene.to("10.1.0.1:80")) == "passthrough 10.1.0.1:80 passthrough_unknown");
    scene.mesh.workload("ns2/client").ip("10.0.0.3");
    scene.source = "ns2/client";
    CHECK(line(scene.to("10.1.0.1:80")) == "direct 10.0.0.2:8080");
}

TEST_CASE("route: an address that is workload and VIP is balanced, but counts as workload-addressed (quirk A4)") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9");
    scene.mesh.service(kWeb).vip("10.0.0.5").port(80, 8080).waypoint("10.0.0.9");
    scene.mesh.workload("ns1/both").ip("10.0.0.5");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").in(kWeb);
    const Route r = scene.to("10.0.0.5:80");  // not through the service's waypoint
    CHECK(line(r) == "direct 10.0.0.2:8080");
    REQUIRE(r.service);
    CHECK(r.service->key == kWeb);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").waypoint("10.0.0.9").in(kWeb);
    CHECK(line(scene.to("10.0.0.5:80")) == "hbone 10.0.0.9:15008 authority 10.0.0.5:80");  // but through the chosen workload's
}

TEST_CASE("route: pinned and excluded endpoints") {
    RouteScene scene;
    scene.mesh.workload("ns1/client").ip("10.0.0.1");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
    scene.mesh.workload("ns1/a").ip("10.0.0.2").in(kWeb);
    scene.mesh.workload("ns1/b").ip("10.0.0.3").in(kWeb);
    auto drawn = [&] {
        std::set<std::string> names;
        scene.to("10.1.0.1:80");
        for (uint64_t seed = 0; seed < 40; ++seed) names.insert(name_of(scene.again("10.1.0.1:80", seed).destination));
        return names;
    };
    CHECK(drawn() == std::set<std::string>{"a", "b"});
    const Text b(MeshFixture::uid("ns1/b"));
    scene.pinned = &b;
    CHECK(drawn() == std::set<std::string>{"b"});
    scene.exclude = {b};
    CHECK(drawn() == std::set<std::string>{"a"});
    const Text gone(MeshFixture::uid("ns1/gone"));
    scene.exclude.clear();
    scene.pinned = &gone;
    CHECK(drawn() == std::set<std::string>{"a", "b"});
}
