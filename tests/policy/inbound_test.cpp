// SPDX-License-Identifier: Apache-2.0
// Contract 6.3, 6.4, 6.5 and 4.11: test_find_inbound_upstream and test_build_inbound_request.
#include "policy/inbound.h"

#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

using namespace warren;
using namespace warren::policy;
using namespace warren::tests;

namespace {

constexpr const char* kWeb = "ns1/web.example";

struct InboundScene {
    MeshFixture mesh;
    std::string local = "ns1/web";
    std::string local_ip = "10.0.0.2";
    std::string forwarded;
    bool localhost = true;

    Inbound ask(std::string_view authority) {
        const auto snapshot = mesh.snapshot();
        auto parsed = parse_authority(authority);
        REQUIRE(parsed);
        InboundRequest request;
        request.local = snapshot->workload(MeshFixture::uid(local));
        request.local_ip = ip(local_ip);
        request.authority = *parsed;
        request.forwarded_host = forwarded;
        request.localhost_app_tunnel = localhost;
        return inbound(*snapshot, request);
    }
};

// "10.0.0.2:80", "127.0.0.1:15088 proxy 10.1.0.1:80", "400 not_for_this_pod"
std::string line(const Inbound& in) {
    if (in.refused()) return std::to_string(in.status) + ' ' + std::string(to_string(in.reason));
    return in.application.to_string() + (in.from_loopback ? " loopback" : "") +
           (in.proxy_header ? " proxy " + in.proxy_destination.to_string() : "");
}

void web(MeshFixture& mesh) {
    mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).port(81, 0).port(82, 0);
    mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").hbone().in(kWeb, {{81, 9091}});
}

}  // namespace

TEST_CASE("inbound: an unknown local workload is 503") {
    InboundScene scene;
    CHECK(line(scene.ask("10.0.0.2:80")) == "503 unknown_source");
}

TEST_CASE("inbound: test_find_inbound_upstream, address and hostname forms") {
    InboundScene scene;
    web(scene.mesh);
    scene.mesh.service("ns1/Mixed.Example").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").hbone().in(kWeb, {{81, 9091}}).in("ns1/Mixed.Example");
    struct Row {
        const char* authority;
        const char* expected;
    };
    const Row rows[] = {
        {"10.0.0.2:80", "10.0.0.2:80"},  // the authority's port as it is
        {"10.0.0.2:65535", "10.0.0.2:65535"},
        {"10.0.0.2:0", "10.0.0.2:0"},  // the connect says that nobody listens there
        {"web.example:80", "10.0.0.2:8080"},
        {"WEB.example:80", "10.0.0.2:8080"},
        {"Mixed.Example:80", "10.0.0.2:8080"},
        {"web.example:81", "10.0.0.2:9091"},            // named port: the endpoint's mapping
        {"web.example:82", "503 unknown_destination"},  // named port that nobody maps
        {"web.example:83", "503 unknown_destination"},  // port not listed
        {"web.example:0", "503 unknown_destination"},
        {"nobody.example:80", "503 unknown_destination"},
        {"10.0.0.2:15001", "503 self_call"},
        {"10.0.0.2:15006", "503 self_call"},
        {"10.0.0.2:15008", "503 self_call"},
        {"10.0.0.2:15053", "10.0.0.2:15053"},
    };
    for (const Row& row : rows) {
        INFO(row.authority);
        const Inbound in = scene.ask(row.authority);
        CHECK(line(in) == row.expected);
        if (!in.refused()) CHECK(in.policy_destination == in.application);
    }
    scene.local_ip = "fd00::2";
    CHECK(line(scene.ask("[fd00::2]:80")) == "[fd00::2]:80");
    CHECK(line(scene.ask("web.example:80")) == "[fd00::2]:8080");  // always where the tunnel arrived
}

TEST_CASE("inbound: test_svc_hostname_named_port: the endpoint's mapping comes before the service's, and may not lead to the tunnel") {
    InboundScene scene;
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).port(82, 15008);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").in(kWeb, {{80, 9090}});
    CHECK(line(scene.ask("web.example:80")) == "10.0.0.2:9090");
    CHECK(line(scene.ask("web.example:82")) == "503 self_call");
}

TEST_CASE("inbound: a hostname is looked up with the eyes of the destination's namespace") {
    InboundScene scene;
    scene.mesh.workload("ns1/web").ip("10.0.0.2");
    scene.mesh.service("ns2/web.example").vip("10.1.0.2").port(80, 2222);
    CHECK(line(scene.ask("web.example:80")) == "10.0.0.2:2222");
    scene.mesh.service("ns2/web.example").vip("10.1.0.2").port(80, 2222).namespace_only();
    CHECK(line(scene.ask("web.example:80")) == "503 unknown_destination");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 1111).namespace_only();
    CHECK(line(scene.ask("web.example:80")) == "10.0.0.2:1111");
}

TEST_CASE("inbound: test_build_inbound_request, an address that is not ours needs us as its waypoint") {
    InboundScene scene;
    scene.local = "ns1/waypoint";
    scene.local_ip = "10.0.0.9";
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9").in("ns1/waypoint.example");
    scene.mesh.workload("ns1/other-waypoint").ip("10.0.0.8").in("ns1/other.example");
    scene.mesh.service("ns1/waypoint.example").vip("10.1.0.9").port(15008, 15008);
    scene.mesh.service("ns1/other.example").vip("10.1.0.8").port(15008, 15008);
    const char* wrong = "400 not_for_this_pod";
    struct Row {
        const char* what;
        const char* waypoint;  // of the target; null: none
        const char* expected;
    };
    const Row rows[] = {
        {"no waypoint", nullptr, wrong},
        {"by our address", "10.0.0.9", "10.0.0.9:80"},
        {"by our VIP", "10.1.0.9", "10.0.0.9:80"},
        {"by our hostname", "ns1/waypoint.example", "10.0.0.9:80"},
        {"by another's address", "10.0.0.8", wrong},
        {"by another's VIP", "10.1.0.8", wrong},
        {"by another's hostname", "ns1/other.example", wrong},
        {"by a hostname nobody has", "ns1/nobody.example", wrong},
        {"by our address in another network", "remote/10.0.0.9", wrong},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        auto service = scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080);
        auto workload = scene.mesh.workload("ns1/web").ip("10.0.0.2");
        if (row.waypoint != nullptr) service.waypoint(row.waypoint), workload.waypoint(row.waypoint);
        CHECK(line(scene.ask("10.1.0.1:80")) == row.expected);
        CHECK(line(scene.ask("10.0.0.2:80")) == row.expected);
    }
    CHECK(line(scene.ask("10.77.0.1:80")) == wrong);  // nobody
    CHECK(line(scene.ask("[fd00::9]:80")) == wrong);
}

TEST_CASE("inbound: weighted waypoints that can be drawn count as waypoints") {
    InboundScene scene;
    scene.local = "ns1/waypoint";
    scene.local_ip = "10.0.0.9";
    scene.mesh.workload("ns1/waypoint").ip("10.0.0.9");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).weighted_waypoint("10.0.0.8", 1).weighted_waypoint("10.0.0.9", 1);
    CHECK(line(scene.ask("10.1.0.1:80")) == "10.0.0.9:80");
    scene.mesh.service(kWeb).vip("10.1.0.1").port(80, 8080).weighted_waypoint("10.0.0.8", 1).weighted_waypoint("10.0.0.9", 0);
    CHECK(line(scene.ask("10.1.0.1:80")) == "400 not_for_this_pod");
}

TEST_CASE("inbound: sandwich_waypoint_plain, plain application tunnel") {
    InboundScene scene;
    web(scene.mesh);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").app_tunnel(AppTunnelProtocol::None, 15088).in(kWeb);
    CHECK(line(scene.ask("10.0.0.2:80")) == "10.0.0.2:15088");
    CHECK(line(scene.ask("10.99.0.1:80")) == "10.0.0.2:15088");  // anything: the application decides
    CHECK(line(scene.ask("web.example:80")) == "10.0.0.2:15088");
    CHECK(scene.ask("10.99.0.1:80").policy_destination == sock("10.0.0.2:15088"));
    scene.mesh.workload("ns1/web").ip("10.0.0.2").app_tunnel(AppTunnelProtocol::None).in(kWeb);
    CHECK(line(scene.ask("10.99.0.1:80")) == "10.0.0.2:80");
    scene.mesh.workload("ns1/web").ip("10.0.0.2").app_tunnel(AppTunnelProtocol::None, 15008).in(kWeb);
    CHECK(line(scene.ask("10.99.0.1:80")) == "503 self_call");
}

TEST_CASE("inbound: sandwich, PROXY application tunnel") {
    InboundScene scene;
    web(scene.mesh);
    scene.mesh.service("ns1/named.example").vip("10.1.0.3").port(80, 0);
    scene.mesh.service("ns1/headless.example").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").ip("fd00::2").app_tunnel(AppTunnelProtocol::Proxy, 15088).in(kWeb);
    CHECK(line(scene.ask("10.1.0.1:80")) == "127.0.0.1:15088 loopback proxy 10.1.0.1:80");
    CHECK(scene.ask("10.1.0.1:80").policy_destination == sock("10.0.0.2:15088"));  // the pod's, not loopback
    CHECK(line(scene.ask("[fd09::1]:80")) == "127.0.0.1:15088 loopback proxy [fd09::1]:80");
    CHECK(line(scene.ask("web.example:80")) == "127.0.0.1:15088 loopback proxy 10.1.0.1:80");
    CHECK(line(scene.ask("named.example:80")) == "503 unknown_destination");
    CHECK(line(scene.ask("headless.example:80")) == "503 unknown_destination");  // no VIP to put into the header
    CHECK(line(scene.ask("10.1.0.1:15008")) == "503 self_call");
    scene.localhost = false;
    CHECK(line(scene.ask("10.1.0.1:80")) == "10.0.0.2:15088 proxy 10.1.0.1:80");
    scene.localhost = true;
    scene.local_ip = "fd00::2";
    CHECK(line(scene.ask("10.1.0.1:80")) == "[::1]:15088 loopback proxy 10.1.0.1:80");
}

TEST_CASE("inbound: the VIP in a PROXY header is of the own network first, then IPv4") {
    struct Row {
        std::vector<const char*> vips;
        const char* expected;
    };
    for (const Row& row : {Row{{"n2/10.1.0.1", "fd01::1"}, "[fd01::1]:80"}, Row{{"fd01::1", "10.1.0.2", "10.1.0.3"}, "10.1.0.2:80"},
                           Row{{"n2/fd01::1", "n2/10.1.0.1"}, "10.1.0.1:80"}}) {
        InboundScene scene;
        auto service = scene.mesh.service(kWeb).port(80, 8080);
        for (const char* vip : row.vips) service.vip(vip);
        scene.mesh.workload("ns1/web").ip("10.0.0.2").app_tunnel(AppTunnelProtocol::Proxy).in(kWeb);
        CHECK(line(scene.ask("web.example:80")) == std::string("127.0.0.1:8080 loopback proxy ") + row.expected);
    }
}

TEST_CASE("inbound: the destination service, as the client says or as the port tells") {
    InboundScene scene;
    scene.mesh.service("ns1/a.example").port(80, 8080).port(90, 0);
    scene.mesh.service("ns1/b.example").port(80, 8080);
    scene.mesh.service("ns1/c.example").port(80, 8080);
    scene.mesh.workload("ns1/web").ip("10.0.0.2").in("ns1/a.example", {{90, 9090}}).in("ns1/b.example").in("ns1/gone.example");
    auto service = [&](std::string_view authority, std::string_view forwarded) {
        scene.forwarded = forwarded;
        const Inbound in = scene.ask(authority);
        CHECK_FALSE(in.refused());
        return in.service ? in.service->hostname.str() : std::string("-");
    };
    CHECK(service("10.0.0.2:8080", "") == "a.example");
    CHECK(service("10.0.0.2:8080", "b.example") == "b.example");
    CHECK(service("10.0.0.2:1234", "b.example") == "b.example");
    CHECK(service("10.0.0.2:8080", "c.example") == "a.example");  // not a service of this workload
    CHECK(service("10.0.0.2:9090", "") == "a.example");           // this endpoint's own mapping
    CHECK(service("10.0.0.2:1234", "") == "-");
    CHECK(service("b.example:80", "") == "b.example");
    CHECK(service("b.example:80", "a.example") == "b.example");  // the authority leaves one candidate
}
