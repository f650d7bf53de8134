// SPDX-License-Identifier: Apache-2.0
// Rows for service addresses: the distribution that policy/endpoint_choice draws, the reasons for none, and changes as writes.
#include "agent/node/service_table.h"

#include "agent/node/alias.h"
#include "agent/node/map_rows.h"
#include "policy/endpoint_choice.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <cmath>
#include <cstring>

using namespace warren;
using namespace warren::node;
using tests::MeshFixture;

namespace {

// The two maps as the kernel holds them. A row that stands for a service always has all its endpoints.
struct KernelServices {
    std::map<std::pair<wr_addr, uint16_t>, wr_service_row,
             bool (*)(const std::pair<wr_addr, uint16_t>&, const std::pair<wr_addr, uint16_t>&)>
        services{[](const auto& a, const auto& b) {
            const int order = std::memcmp(&a.first, &b.first, sizeof a.first);
            return order != 0 ? order < 0 : a.second < b.second;
        }};
    std::map<std::pair<uint32_t, uint32_t>, wr_endpoint_row> endpoints;

    void write(const std::vector<ServiceOp>& ops) {
        for (const ServiceOp& op : ops) {
            std::visit([&](const auto& o) { write(o); }, op);
            for (const auto& [key, row] : services)
                for (uint32_t i = 0; i < row.count; ++i) REQUIRE(endpoints.contains({row.id, i}));
        }
    }
    void write(const PutEndpoint& op) {
        const bool is_new = endpoints.insert_or_assign({op.key.service, op.key.index}, op.row).second;
        REQUIRE(is_new);
    }
    void write(const PutService& op) { services.insert_or_assign({op.key.address, op.key.port}, op.row); }
    void write(const DropService& op) { REQUIRE(services.erase({op.key.address, op.key.port}) == 1); }
    void write(const DropEndpoint& op) { REQUIRE(endpoints.erase({op.key.service, op.key.index}) == 1); }

    [[nodiscard]] const wr_service_row* find(const char* address) const {
        const base::SockAddr at = tests::sock(address);
        const auto found = services.find({to_row(at.ip), at.port});
        return found != services.end() ? &found->second : nullptr;
    }
    // A draw as the kernel makes it: the address drawn and its port.
    [[nodiscard]] wr_endpoint_row draw(const wr_service_row& row, policy::Random& random) const {
        const auto index = static_cast<uint32_t>(random.below(row.count));
        const wr_endpoint_row& first = endpoints.at({row.id, index});
        if ((row.flags & WR_SERVICE_UNIFORM) != 0) return first;
        const auto second = static_cast<uint32_t>(random.next() >> 32);
        return second < first.threshold ? first : endpoints.at({row.id, first.alias});
    }
};

constexpr uint32_t kAll = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;

LocalPod pod(uint32_t id, const char* ns, const char* name, const char* ip) {
    LocalPod p;
    p.id = id;
    p.flags = kAll;
    p.ns = policy::Text(ns);
    p.name = policy::Text(name);
    p.service_account = policy::Text("default");
    p.v4 = tests::ip(ip);
    return p;
}

// A client and one endpoint on this node, another endpoint elsewhere.
struct Scene {
    MeshFixture mesh;
    std::vector<LocalPod> pods{pod(1, "shop", "client", "10.0.0.1"), pod(2, "shop", "web-1", "10.0.0.2")};
    MeshView view{MeshSettings{{}, "node-a", {}}};
    KernelServices kernel;

    Scene() {
        mesh.workload("shop/client").ip("10.0.0.1").hbone();
        mesh.workload("shop/web-1").ip("10.0.0.2").hbone().in("shop/web.example");
        mesh.workload("shop/web-2").ip("10.0.1.2").hbone().node("node-b").in("shop/web.example");
    }
    tests::ServiceBuilder web() { return mesh.service("shop/web.example").vip("10.96.0.1").port(80, 8080); }
    size_t update(ServiceTable& table) {
        view.update(mesh.snapshot(), pods);
        const auto ops = table.update(view);
        kernel.write(ops);
        return ops.size();
    }
    NotDrawn why(bool ours = true) {
        ServiceTable table(ours);
        view.update(mesh.snapshot(), pods);
        table.update(view);
        const auto* row = table.find(tests::sock("10.96.0.1:80"));
        REQUIRE(row != nullptr);
        CHECK(((row->rows.flags & WR_SERVICE_TUNNEL) != 0) == (row->rows.not_drawn != NotDrawn::No));
        CHECK(row->rows.endpoints.empty() == (row->rows.not_drawn != NotDrawn::No));
        return row->rows.not_drawn;
    }
};

}  // namespace

TEST_CASE("services: alias rows give each weight its share to within 2^-32") {
    policy::Random random(7);
    for (int round = 0; round < 300; ++round) {
        const size_t count = 1 + random.below(round < 200 ? 12 : 400);
        std::vector<uint32_t> weights(count);
        uint64_t total = 0;
        const uint64_t most = round % 3 == 0 ? UINT32_MAX : round % 3 == 1 ? 100 : 1;
        for (uint32_t& w : weights) total += w = static_cast<uint32_t>(1 + random.below(most));
        const auto rows = alias_rows(weights);
        std::vector<uint64_t> share(count);  // in 2^-32 of a column
        for (size_t i = 0; i < count; ++i) {
            const bool own = rows[i].alias == i;
            share[i] += own ? uint64_t{1} << 32 : rows[i].threshold;
            if (!own) share[rows[i].alias] += (uint64_t{1} << 32) - rows[i].threshold;
        }
        for (size_t i = 0; i < count; ++i) {
            const long double wanted = static_cast<long double>(weights[i]) / static_cast<long double>(total);
            const long double got = static_cast<long double>(share[i]) / static_cast<long double>(count) / 4294967296.0L;
            INFO("round " << round << " index " << i << " of " << count);
            REQUIRE(std::fabs(wanted - got) <= 1 / 4294967296.0L);
        }
    }
    CHECK(alias_rows({}).empty());
}

TEST_CASE("services: draws from the rows are distributed as policy draws (chi-square)") {
    MeshFixture mesh;
    mesh.workload("shop/client").ip("10.0.0.1").hbone().locality("r1", "z1");
    const uint32_t weights[] = {3, 1, 5, 20, 0, 30, 7, 2};
    for (uint32_t i = 0; i < 8; ++i) {
        auto w = mesh.workload("shop/web-" + std::to_string(i));
        w.ip("10.0.0." + std::to_string(10 + i)).hbone().capacity(weights[i]).locality("r1", i < 6 ? "z1" : "z2");
        w.in("shop/web.example", {{80, static_cast<uint16_t>(9000 + i)}});
        if (i == 1) w.unhealthy();
    }
    mesh.service("shop/web.example").vip("10.96.0.1").port(80, 8080).balance(policy::LbMode::Failover, {policy::LbScope::Zone});
    const auto snapshot = mesh.snapshot();
    MeshView view{MeshSettings{{}, "node-a", {}}};
    view.update(snapshot, std::vector{pod(1, "shop", "client", "10.0.0.1"), pod(2, "shop", "web-2", "10.0.0.12")});
    ServiceTable table(true);
    KernelServices kernel;
    kernel.write(table.update(view));
    const wr_service_row* row = kernel.find("10.96.0.1:80");
    REQUIRE(row != nullptr);
    CHECK(row->flags == WR_SERVICE_HINT);
    CHECK(row->count == 4);  // not the unhealthy one, the one without weight, the other zone

    constexpr size_t kDraws = 200'000;
    std::map<uint16_t, std::pair<double, double>> drawn;  // by port: policy, kernel
    policy::Random random(11);
    policy::ChoiceRequest request;
    request.source = snapshot->workload(MeshFixture::uid("shop/client"));
    request.service_port = 80;
    for (size_t i = 0; i < kDraws; ++i) {
        drawn[choose_endpoint(*snapshot->service("shop/web.example"), request, random).port].first += 1;
        drawn[kernel.draw(*row, random).port].second += 1;
    }
    // Two samples against each other; 3 degrees of freedom, 16.27 is the 0.001 quantile.
    double chi = 0;
    for (const auto& [port, n] : drawn) chi += (n.first - n.second) * (n.first - n.second) / (n.first + n.second);
    INFO("chi-square " << chi);
    CHECK(drawn.size() == 4);
    CHECK(chi < 16.27);
    // And against the weights themselves.
    double exact = 0;
    for (const auto& [port, n] : drawn) {
        const double expected = kDraws * weights[port - 9000] / 58.0;
        exact += (n.second - expected) * (n.second - expected) / expected;
    }
    INFO("chi-square against the weights " << exact);
    CHECK(exact < 16.27);
}

TEST_CASE("services: only those with an endpoint on this node have rows, with flags for who is local and whose tunnel it is") {
    Scene s;
    s.web();
    s.mesh.workload("shop/far-1").ip("10.0.1.3").hbone().node("node-b").in("shop/far.example");
    s.mesh.service("shop/far.example").vip("10.96.0.2").port(80, 8080);
    s.mesh.workload("shop/near").ip("10.0.0.3").hbone().in("shop/near.example");
    s.mesh.service("shop/near.example").vip("10.96.0.3").port(80, 8080).port(81, 0);
    s.pods.push_back(pod(3, "shop", "near", "10.0.0.3"));
    ServiceTable table(true);
    s.update(table);
    REQUIRE(s.kernel.find("10.96.0.1:80") != nullptr);
    CHECK(s.kernel.find("10.96.0.1:80")->flags == (WR_SERVICE_HINT | WR_SERVICE_UNIFORM));
    CHECK(s.kernel.find("10.96.0.1:80")->count == 2);
    CHECK(s.kernel.find("10.96.0.2:80") == nullptr);
    REQUIRE(s.kernel.find("10.96.0.3:80") != nullptr);
    CHECK(s.kernel.find("10.96.0.3:80")->flags == (WR_SERVICE_HINT | WR_SERVICE_UNIFORM | WR_SERVICE_ALL_LOCAL));
    CHECK(s.kernel.find("10.96.0.3:81") == nullptr);  // nobody maps it
    CHECK(s.kernel.endpoints.at({s.kernel.find("10.96.0.3:80")->id, 0}).port == 8080);
    CHECK(table.counts().addresses == 2);
    CHECK(table.counts().endpoints == 3);
}

TEST_CASE("services: what cannot be drawn in the kernel has a row that says tunnel, and why") {
    Scene s;
    SECTION("drawn") {
        s.web();
        CHECK(s.why() == NotDrawn::No);
    }
    SECTION("waypoint") {
        s.web().waypoint("10.0.9.9");
        CHECK(s.why() == NotDrawn::Waypoint);
    }
    SECTION("weighted waypoint") {
        s.web().weighted_waypoint("10.0.9.9", 5);
        CHECK(s.why() == NotDrawn::Waypoint);
    }
    SECTION("passthrough") {
        s.web().balance(policy::LbMode::Passthrough);
        CHECK(s.why() == NotDrawn::Passthrough);
    }
    SECTION("an endpoint in another network") {
        s.web();
        s.mesh.workload("shop/web-3").network("net-b").ip("10.0.0.9").network_gateway("net-b/10.9.9.9").hbone().in("shop/web.example");
        CHECK(s.why() == NotDrawn::OtherNetwork);
    }
    SECTION("a client in another network") {
        s.web();
        s.mesh.workload("shop/client").ip("10.0.0.1").network("net-b").hbone();
        CHECK(s.why() == NotDrawn::OtherNetwork);
    }
    SECTION("an endpoint that is a hostname") {
        s.web();
        s.mesh.workload("shop/web-3").hostname("web.elsewhere").in("shop/web.example");
        CHECK(s.why() == NotDrawn::NoAddress);
    }
    SECTION("an endpoint of the other family") {
        s.web();
        s.mesh.workload("shop/web-3").ip("fd00::3").in("shop/web.example");
        CHECK(s.why() == NotDrawn::NoAddress);
    }
    SECTION("an endpoint on a port of the tunnel") {
        s.web();
        s.mesh.workload("shop/web-3").ip("10.0.0.8").in("shop/web.example", {{80, 15008}});
        CHECK(s.why() == NotDrawn::TunnelPort);
    }
    SECTION("a service that only some pods see") {
        s.web().namespace_only();
        CHECK(s.why() == NotDrawn::No);
        s.pods.push_back(pod(3, "other", "client", "10.0.0.3"));
        s.mesh.workload("other/client").ip("10.0.0.3").hbone();
        CHECK(s.why() == NotDrawn::DependsOnClient);
    }
    SECTION("a namespace with a service of its own there") {
        s.web();
        s.pods.push_back(pod(3, "other", "client", "10.0.0.3"));
        s.mesh.workload("other/client").ip("10.0.0.3").hbone();
        CHECK(s.why() == NotDrawn::No);
        s.mesh.service("other/web.example").vip("10.96.0.1").port(80, 8080);
        CHECK(s.why() == NotDrawn::DependsOnClient);
    }
    SECTION("pods of the node that prefer different endpoints") {
        s.web().balance(policy::LbMode::Failover, {policy::LbScope::Zone});
        s.pods.push_back(pod(3, "shop", "roamer", "10.0.0.3"));
        s.mesh.workload("shop/roamer").ip("10.0.0.3").hbone().locality("r", "z");
        CHECK(s.why() == NotDrawn::No);
        s.mesh.workload("shop/web-2").ip("10.0.1.2").hbone().locality("r", "z").in("shop/web.example");
        CHECK(s.why() == NotDrawn::DependsOnClient);
    }
    SECTION("an address that is also a workload's") {
        s.web();
        s.mesh.workload("shop/impostor").ip("10.96.0.1").hbone();
        CHECK(s.why() == NotDrawn::DependsOnClient);
    }
    SECTION("a stock tunnel, and endpoints elsewhere") {
        s.web();
        CHECK(s.why(false) == NotDrawn::NotAllLocal);
    }
    SECTION("a stock tunnel, and every endpoint here") {
        s.web();
        s.mesh.workload("shop/web-2").ip("10.0.1.2").hbone().in("shop/web.example").unhealthy();
        CHECK(s.why(false) == NotDrawn::No);
        NetworkPolicy shut{.ns = "", .name = "", .pods = {}, .ingress = {true, {}}, .egress = {}};
        s.pods[1].network.pod = std::make_shared<const PodNetwork>(select_policies({}, {std::make_shared<const NetworkPolicy>(shut)}));
        CHECK(s.why(false) == NotDrawn::NotAllLocal);
        CHECK(s.why() == NotDrawn::No);
        s.pods[1].network = {};
        CHECK(s.why(false) == NotDrawn::No);
        s.pods[1].same_node = SameNode::Off;
        CHECK(s.why(false) == NotDrawn::NotAllLocal);
    }
    SECTION("publishNotReady") {
        s.web().allow_all();
        s.mesh.workload("shop/web-1").ip("10.0.0.2").hbone().in("shop/web.example").unhealthy();
        CHECK(s.why() == NotDrawn::No);
    }
}

TEST_CASE("services: a changed list gets a new id, an unchanged one is not touched, one that goes leaves nothing") {
    Scene s;
    s.web();
    ServiceTable table(true);
    CHECK(s.update(table) == 3);
    const uint32_t first = s.kernel.find("10.96.0.1:80")->id;
    CHECK(s.update(table) == 0);

    s.mesh.workload("shop/web-3").ip("10.0.1.3").hbone().node("node-b").in("shop/web.example");
    s.mesh.workload("shop/web-2").ip("10.0.1.2").hbone().node("node-b").in("shop/web.example").capacity(4);
    CHECK(s.update(table) == 3 + 1 + 2);
    const wr_service_row* row = s.kernel.find("10.96.0.1:80");
    CHECK(row->id > first);
    CHECK(row->count == 3);
    CHECK((row->flags & WR_SERVICE_UNIFORM) == 0);
    CHECK(s.kernel.endpoints.size() == 3);

    KernelServices again;
    again.write(table.all());
    CHECK(again.endpoints.size() == 3);

    s.pods.pop_back();  // the local endpoint leaves the node: nothing to gain any more
    s.update(table);
    CHECK(s.kernel.services.empty());
    CHECK(s.kernel.endpoints.empty());
    CHECK(table.counts().addresses == 0);
}

TEST_CASE("services: an update computes only services of this node's pods that changed") {
    Scene s;
    s.web();
    for (int i = 0; i < 200; ++i) {
        const std::string name = "shop/far-" + std::to_string(i);
        s.mesh.service(name).vip("10.97.0." + std::to_string(i)).port(80, 8080);
        s.mesh.workload(name + "-pod").ip("10.0.2." + std::to_string(i)).hbone().node("node-b").in(name);
    }
    ServiceTable table(true);
    s.update(table);
    CHECK(table.counts().computed == 1);
    s.mesh.workload("shop/far-7-pod").ip("10.0.2.7").hbone().node("node-b").in("shop/far-7").capacity(3);
    CHECK(s.update(table) == 0);
    CHECK(table.counts().computed == 1);
    s.mesh.workload("shop/web-2").ip("10.0.1.2").hbone().node("node-b").in("shop/web.example").capacity(4);
    CHECK(s.update(table) > 0);
    CHECK(table.counts().computed == 2);
}

TEST_CASE("services: bounds on addresses and endpoints leave the rest to the tunnel, counted") {
    Scene s;
    s.web().port(81, 8081).port(82, 8082);
    SECTION("addresses") {
        ServiceTable table(true, {.addresses = 2});
        s.update(table);
        CHECK(s.kernel.services.size() == 2);
        CHECK(table.counts().beyond_limit == 1);
    }
    SECTION("endpoints of all lists") {
        ServiceTable table(true, {.endpoints = 5});
        s.update(table);
        CHECK(s.kernel.endpoints.size() == 4);
        CHECK(table.counts().beyond_limit == 1);
    }
    SECTION("endpoints of one list") {
        ServiceTable table(true, {.endpoints_per_list = 1});
        s.update(table);
        CHECK(s.kernel.endpoints.empty());
        CHECK(table.find(tests::sock("10.96.0.1:80"))->rows.not_drawn == NotDrawn::TooManyEndpoints);
    }
}
