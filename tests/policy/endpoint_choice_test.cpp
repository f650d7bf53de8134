// SPDX-License-Identifier: Apache-2.0
#include "policy/endpoint_choice.h"

#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <map>
#include <set>

using namespace warren;
using namespace warren::policy;
using warren::tests::MeshFixture;

namespace {

constexpr const char* kService = "prod/web.example";

struct Scene {
    std::shared_ptr<const Snapshot> snapshot;
    const ServiceEntry* entry;
    ChoiceRequest request;

    explicit Scene(MeshFixture& mesh, uint16_t port = 80) : snapshot(mesh.snapshot()), entry(snapshot->service(kService)) {
        REQUIRE(entry != nullptr);
        request.source = snapshot->workload(MeshFixture::uid("prod/client"));
        request.service_port = port;
    }
    // Short names of all candidates.
    [[nodiscard]] std::set<std::string> names() const {
        std::set<std::string> out;
        for (const Candidate& c : candidates(*entry, request)) out.insert(c.workload->name.str());
        return out;
    }
    [[nodiscard]] std::string draw(uint64_t seed = 1) const {
        Random random(seed);
        const Choice c = choose_endpoint(*entry, request, random);
        return c.workload ? c.workload->name.str() : "none";
    }
};

using Names = std::set<std::string>;

Text uid(std::string_view ns_name) { return Text(MeshFixture::uid(ns_name)); }

}  // namespace

TEST_CASE("endpoint choice: locality ranks are those of the contract's example") {
    struct Row {
        const char* name;
        const char* network;
        const char* region;
        const char* zone;
    };
    // Best first: each row must win over all that follow it, and lose to all before it.
    const std::vector<Row> rows = {
        {"all", "n", "r", "z"},         {"network-region", "n", "r", "x"}, {"network", "n", "x", "z"},
        {"region-zone", "x", "r", "z"}, {"region", "x", "r", "x"},         {"none", "x", "x", "x"},
    };
    for (size_t best = 0; best < rows.size(); ++best) {
        MeshFixture mesh;
        mesh.workload("prod/client").ip("10.0.0.1").network("n").locality("r", "z");
        mesh.service(kService).port(80, 8080).balance(LbMode::Failover, {LbScope::Network, LbScope::Region, LbScope::Zone});
        for (size_t i = best; i < rows.size(); ++i)
            mesh.workload(std::string("prod/") + rows[i].name)
                .ip("10.0.1." + std::to_string(i))
                .network(rows[i].network)
                .locality(rows[i].region, rows[i].zone)
                .in(kService);
        CHECK(Scene(mesh).names() == Names{rows[best].name});
    }
}

TEST_CASE("endpoint choice: a network preference that is not the first one stops the comparison") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1").network("n").locality("r", "z");
    mesh.service(kService).port(80, 8080).balance(LbMode::Failover, {LbScope::Region, LbScope::Network, LbScope::Zone});
    mesh.workload("prod/region-zone").ip("10.0.1.1").network("x").locality("r", "z").in(kService);
    mesh.workload("prod/region").ip("10.0.1.2").network("x").locality("r", "x").in(kService);
    CHECK(Scene(mesh).names() == Names{"region-zone", "region"});
    mesh.workload("prod/region-network").ip("10.0.1.3").network("n").locality("r", "x").in(kService);
    CHECK(Scene(mesh).names() == Names{"region-network"});
}

TEST_CASE("endpoint choice: strict drops what does not match all, before a leading network lifts it") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1").network("n").locality("r", "z");
    mesh.service(kService).port(80, 8080).balance(LbMode::Strict, {LbScope::Network, LbScope::Region});
    mesh.workload("prod/network").ip("10.0.1.1").network("n").locality("x").in(kService);  // 1 match + 1 of lift = 2 preferences
    CHECK(Scene(mesh).names().empty());
    CHECK(Scene(mesh).draw() == "none");
    mesh.workload("prod/both").ip("10.0.1.2").network("n").locality("r").in(kService);
    CHECK(Scene(mesh).names() == Names{"both"});
}

TEST_CASE("endpoint choice: strict without preferences keeps everything, empty localities are equal") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1");
    mesh.workload("prod/a").ip("10.0.1.1").in(kService);
    mesh.workload("prod/b").ip("10.0.1.2").locality("r").in(kService);
    mesh.service(kService).port(80, 8080).balance(LbMode::Strict);
    CHECK(Scene(mesh).names() == Names{"a", "b"});
    mesh.service(kService).port(80, 8080).balance(LbMode::Strict, {LbScope::Region, LbScope::Zone, LbScope::Subzone});
    CHECK(Scene(mesh).names() == Names{"a"});
}

TEST_CASE("endpoint choice: every scope compares its own field") {
    struct Row {
        LbScope scope;
        const char* winner;
    };
    for (const Row row : {Row{LbScope::Region, "region"}, Row{LbScope::Zone, "zone"}, Row{LbScope::Subzone, "subzone"},
                          Row{LbScope::Node, "node"}, Row{LbScope::Cluster, "cluster"}, Row{LbScope::Network, "network"}}) {
        MeshFixture mesh;
        mesh.workload("prod/client").ip("10.0.0.1").locality("r", "z", "s").node("N").cluster("C").network("W");
        mesh.workload("prod/region").ip("10.0.1.1").locality("r").in(kService);
        mesh.workload("prod/zone").ip("10.0.1.2").locality("", "z").in(kService);
        mesh.workload("prod/subzone").ip("10.0.1.3").locality("", "", "s").in(kService);
        mesh.workload("prod/node").ip("10.0.1.4").node("N").in(kService);
        mesh.workload("prod/cluster").ip("10.0.1.5").cluster("C").in(kService);
        mesh.workload("prod/network").ip("10.0.1.6").network("W").in(kService);
        mesh.service(kService).port(80, 8080).balance(LbMode::Strict, {row.scope});
        CHECK(Scene(mesh).names() == Names{row.winner});
    }
}

TEST_CASE("endpoint choice: test_load_balance, strict and failover by region, never an endpoint without an address") {
    auto build = [](MeshFixture& mesh, LbMode mode) {
        mesh.workload("prod/client").ip("10.0.0.1").network("n").locality("reg", "zone");
        mesh.service(kService).port(80, 80).balance(mode, {LbScope::Region, LbScope::Zone});
        mesh.workload("prod/unreachable").network("n").locality("reg", "zone").in(kService);
        mesh.workload("prod/region").ip("10.0.1.1").network("n").locality("reg", "other").in(kService);
        mesh.workload("prod/elsewhere").ip("10.0.1.2").network("n").locality("x", "y").in(kService);
    };
    MeshFixture strict;
    build(strict, LbMode::Strict);
    CHECK(Scene(strict).draw() == "none");
    strict.workload("prod/exact").ip("10.0.1.3").network("n").locality("reg", "zone").in(kService);
    CHECK(Scene(strict).names() == Names{"exact"});
    MeshFixture failover;
    build(failover, LbMode::Failover);
    CHECK(Scene(failover).names() == Names{"region"});
    MeshFixture any;
    build(any, LbMode::Unspecified);
    CHECK(Scene(any).names() == Names{"region", "elsewhere"});
}

TEST_CASE("endpoint choice: without an address only a gateway of another network makes an endpoint reachable") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1").network("n");
    mesh.service(kService).port(80, 8080);
    mesh.workload("prod/no-gateway").network("remote").in(kService);
    mesh.workload("prod/same-network").network("n").network_gateway("n/10.9.9.9").in(kService);
    mesh.workload("prod/remote").network("remote").network_gateway("remote/10.9.9.9").in(kService);
    mesh.workload("prod/by-name").hostname("vm.example").network("n").in(kService);
    CHECK(Scene(mesh).names() == Names{"remote", "by-name"});
}

TEST_CASE("endpoint choice: find_upstream_port_mappings") {
    struct Row {
        const char* what;
        bool listed;              // the service lists port 80
        uint16_t service_target;  // its target, 0: named
        uint16_t own;             // the endpoint's mapping of 80, 0: none
        int tunnel;               // application tunnel port, -1: no tunnel
        uint16_t standard;        // expected port, 0: no upstream
        uint16_t waypoint;
    };
    const Row rows[] = {
        {"service target", true, 8080, 0, -1, 8080, 8080},
        {"endpoint before service", true, 8080, 9090, -1, 9090, 9090},
        {"named port, endpoint maps it", true, 0, 9090, -1, 9090, 9090},
        {"named port, nobody maps it", true, 0, 0, -1, 0, 0},
        {"port not listed", false, 0, 0, -1, 0, 0},
        {"port not listed, endpoint maps it", false, 0, 9090, -1, 0, 0},
        {"not listed, tunnel with a port", false, 0, 0, 15088, 0, 80},
        {"not listed, tunnel without a port", false, 0, 0, 0, 0, 0},
        {"not listed, tunnel, endpoint maps it", false, 0, 9090, 0, 0, 9090},
        {"named port, tunnel with a port", true, 0, 0, 15088, 0, 80},
        {"service target before the tunnel's rule", true, 8080, 0, 15088, 8080, 8080},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        MeshFixture mesh;
        mesh.workload("prod/client").ip("10.0.0.1");
        auto service = mesh.service(kService).port(443, 8443);
        if (row.listed) service.port(80, row.service_target);
        auto endpoint = mesh.workload("prod/a").ip("10.0.1.1");
        endpoint.in(kService, {{row.own != 0 ? uint16_t{80} : uint16_t{81}, row.own != 0 ? row.own : uint16_t{7777}}});
        if (row.tunnel >= 0) endpoint.app_tunnel(AppTunnelProtocol::Proxy, static_cast<uint16_t>(row.tunnel));
        Scene scene(mesh);
        Random random(1);
        CHECK(choose_endpoint(*scene.entry, scene.request, random).port == row.standard);
        scene.request.resolution = Resolution::Waypoint;
        CHECK(choose_endpoint(*scene.entry, scene.request, random).port == row.waypoint);
    }
}

TEST_CASE("endpoint choice: unhealthy endpoints only under allow all, also when it is switched on later") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1");
    mesh.service(kService).port(80, 8080);
    mesh.workload("prod/sick").ip("10.0.1.1").unhealthy().in(kService);
    CHECK(Scene(mesh).draw() == "none");
    mesh.workload("prod/well").ip("10.0.1.2").in(kService);
    CHECK(Scene(mesh).names() == Names{"well"});
    mesh.service(kService).port(80, 8080).allow_all();
    CHECK(Scene(mesh).names() == Names{"well", "sick"});
}

TEST_CASE("endpoint choice: excluded endpoints are not drawn while another one is left") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1").locality("r");
    mesh.service(kService).port(80, 8080).balance(LbMode::Failover, {LbScope::Region});
    mesh.workload("prod/near-a").ip("10.0.1.1").locality("r").in(kService);
    mesh.workload("prod/near-b").ip("10.0.1.2").locality("r").in(kService);
    mesh.workload("prod/far").ip("10.0.1.3").locality("x").in(kService);
    mesh.workload("prod/weightless").ip("10.0.1.4").locality("x").capacity(0).in(kService);
    Scene scene(mesh);
    CHECK(scene.names() == Names{"near-a", "near-b"});
    const std::vector<Text> one{uid("prod/near-a")};
    const std::vector<Text> near{uid("prod/near-a"), uid("prod/near-b")};
    const std::vector<Text> all{uid("prod/near-a"), uid("prod/near-b"), uid("prod/far")};
    scene.request.exclude = one;
    CHECK(scene.names() == Names{"near-b"});
    for (uint64_t seed = 0; seed < 50; ++seed) CHECK(scene.draw(seed) == "near-b");
    scene.request.exclude = near;  // a farther one that works beats a near one that failed
    CHECK(scene.names() == Names{"far"});
    CHECK(scene.draw() == "far");
    scene.request.exclude = all;  // nobody left who could be drawn: the exclusion is off
    CHECK(scene.names() == Names{"near-a", "near-b"});
    CHECK(scene.draw() != "none");
}

TEST_CASE("endpoint choice: a pinned endpoint is taken while it is a candidate") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1").locality("r");
    mesh.service(kService).port(80, 8080).balance(LbMode::Failover, {LbScope::Region});
    mesh.workload("prod/a").ip("10.0.1.1").locality("r").in(kService);
    mesh.workload("prod/b").ip("10.0.1.2").locality("r").in(kService);
    mesh.workload("prod/far").ip("10.0.1.3").locality("x").in(kService);
    mesh.workload("prod/weightless").ip("10.0.1.4").locality("r").capacity(0).in(kService);
    Scene scene(mesh);
    const Text b = uid("prod/b"), far = uid("prod/far"), weightless = uid("prod/weightless");
    scene.request.pinned = &b;
    for (uint64_t seed = 0; seed < 50; ++seed) CHECK(scene.draw(seed) == "b");
    for (const Text* stale : {&far, &weightless}) {
        scene.request.pinned = stale;
        Names drawn;
        for (uint64_t seed = 0; seed < 50; ++seed) drawn.insert(scene.draw(seed));
        CHECK(drawn == Names{"a", "b"});
    }
    const std::vector<Text> failed{b};
    scene.request.pinned = &b;
    scene.request.exclude = failed;
    CHECK(scene.draw() == "a");
}

TEST_CASE("endpoint choice: the draw follows the weights (chi-square)") {
    struct Row {
        std::vector<uint32_t> weights;
        double critical;  // of chi-square at p = 0.001 for (non-zero weights - 1) degrees of freedom
    };
    for (const Row& row : {Row{{1, 1, 1, 1}, 16.27}, Row{{1, 3, 6}, 13.82}, Row{{0, 5, 0, 15, 80}, 13.82}}) {
        MeshFixture mesh;
        mesh.workload("prod/client").ip("10.0.0.1");
        mesh.service(kService).port(80, 8080);
        double total = 0;
        for (size_t i = 0; i < row.weights.size(); ++i) {
            const std::string n = std::to_string(i);
            mesh.workload("prod/" + n).ip("10.0.1." + n).capacity(row.weights[i]).in(kService);
            total += row.weights[i];
        }
        Scene scene(mesh);
        Random random(42);
        constexpr int draws = 20000;
        std::map<std::string, int> hits;
        for (int i = 0; i < draws; ++i) ++hits[choose_endpoint(*scene.entry, scene.request, random).workload->name.str()];
        double chi = 0;
        size_t weighted = 0;
        for (size_t i = 0; i < row.weights.size(); ++i) {
            const int seen = hits[std::to_string(i)];
            if (row.weights[i] == 0) {
                CHECK(seen == 0);
                continue;
            }
            ++weighted;
            const double expected = draws * row.weights[i] / total;
            chi += (seen - expected) * (seen - expected) / expected;
        }
        CHECK(chi < row.critical);
        CHECK(candidates(*scene.entry, scene.request).size() == weighted);
    }
}

TEST_CASE("endpoint choice: all weights zero means no upstream") {
    MeshFixture mesh;
    mesh.workload("prod/client").ip("10.0.0.1");
    mesh.service(kService).port(80, 8080);
    mesh.workload("prod/a").ip("10.0.1.1").capacity(0).in(kService);
    mesh.workload("prod/b").ip("10.0.1.2").capacity(0).in(kService);
    Scene scene(mesh);
    CHECK(scene.draw() == "none");
    CHECK(scene.names().empty());
    const std::vector<Text> failed{uid("prod/a")};
    scene.request.exclude = failed;
    CHECK(scene.draw() == "none");
    CHECK(scene.names().empty());
}
