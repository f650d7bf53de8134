// SPDX-License-Identifier: Apache-2.0
// Random services against route(): where a row draws, each pod of the node is routed to exactly the endpoints of the row, straight; and
// what the table says after random changes is what a table made from nothing says.
#include "agent/node/service_table.h"
#include "policy/route.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <set>

using namespace warren;
using namespace warren::node;
using tests::MeshFixture;

namespace {

constexpr uint32_t kLocal = 4;

class RandomServices {
  public:
    explicit RandomServices(uint64_t seed) : random_(seed) {
        for (uint32_t i = 1; i <= kLocal; ++i) {
            LocalPod p;
            p.id = i;
            p.flags = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;
            p.ns = policy::Text(ns(i));
            p.name = policy::Text("w" + std::to_string(i));
            p.service_account = policy::Text("default");
            p.v4 = address(i);
            pods.push_back(p);
        }
        for (uint32_t i = 1; i <= 8; ++i) workload(i);
        for (uint32_t i = 0; i < 3; ++i) service(i);
    }
    void change() { one_in(2) ? workload(1 + below(8)) : service(below(3)); }

    MeshFixture mesh;
    std::vector<LocalPod> pods;

  private:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_.below(n)); }
    bool one_in(uint32_t n) { return below(n) == 0; }
    static const char* ns(uint32_t i) { return i % 2 == 0 ? "even" : "odd"; }
    static base::IpAddr address(uint32_t i) { return base::IpAddr::v4(0x0a000000u + i); }
    static std::string key(uint32_t i) { return std::string(i == 1 ? "even" : "odd") + "/s" + std::to_string(i) + ".example"; }

    void workload(uint32_t i) {
        auto w = mesh.workload(std::string(ns(i)) + "/w" + std::to_string(i));
        w.hbone().node(i <= kLocal ? "node-a" : "node-b").capacity(one_in(6) ? 0 : 1 + below(3));
        if (!one_in(40)) w.ip(address(i).to_string());
        if (one_in(8)) w.unhealthy();
        if (one_in(40)) w.network("net-b").network_gateway("10.0.0.99");
        if (one_in(40)) w.waypoint("10.0.0.8");
        w.locality("r", one_in(6) ? "z2" : "z1");
        for (uint32_t s = 0; s < 3; ++s)
            if (one_in(2))
                w.in(key(s), one_in(3) ? std::initializer_list<policy::PortPair>{{80, 9000}} : std::initializer_list<policy::PortPair>{});
    }
    void service(uint32_t i) {
        auto s = mesh.service(key(i));
        s.vip("10.96.0." + std::to_string(one_in(8) ? 0 : i)).port(80, 8080);
        if (one_in(3)) s.port(81, static_cast<uint16_t>(one_in(5) ? 15008 : 8081));
        if (one_in(12)) s.waypoint("10.0.0.8");
        if (one_in(12)) s.weighted_waypoint("10.0.0.8", below(2));
        if (one_in(12)) s.namespace_only();
        if (one_in(15)) s.vip("10.0.0.5");
        if (one_in(12)) s.cidr("", "10.96.0.0/24");
        if (one_in(3)) s.balance(static_cast<policy::LbMode>(below(4)), {one_in(2) ? policy::LbScope::Zone : policy::LbScope::Node});
        if (one_in(5)) s.allow_all();
    }

    policy::Random random_;
};

std::string text(const ServiceTable::Row* row) {
    if (row == nullptr) return "none";
    std::string out = std::string(to_string(row->rows.not_drawn)) + " " + std::to_string(row->rows.flags);
    for (const wr_endpoint_row& e : row->rows.endpoints)
        for (const uint8_t b : std::span(reinterpret_cast<const uint8_t*>(&e), sizeof e)) out += " " + std::to_string(b);
    return out;
}

// Where route() leads a pod that asks for the address, over many draws.
std::set<base::SockAddr> routed(const policy::Snapshot& snapshot, const Member& from, const base::SockAddr& to, bool& straight) {
    std::set<base::SockAddr> out;
    policy::RouteRequest request;
    request.source = from.record.get();
    request.client = *from.pod.v4;
    request.destination = to;
    for (uint64_t seed = 0; seed < 300; ++seed) {
        policy::Random random(seed * 7919 + 1);
        const policy::Route r = policy::route(snapshot, request, random);
        const bool plain = r.action == policy::RouteAction::Hbone || r.action == policy::RouteAction::Direct;
        straight = straight && plain && r.via == policy::Via::Nothing && r.resolve_hostname.empty() && r.service;
        out.insert({r.tcp_destination.ip, r.destination_port});
    }
    return out;
}

}  // namespace

TEST_CASE("services: where a row draws, every pod of the node is routed to its endpoints and to no others, on random meshes") {
    size_t drawn = 0, left = 0;
    for (uint64_t seed = 1; seed <= 150; ++seed) {
        RandomServices scene(seed);
        MeshView view{MeshSettings{{}, "node-a", {}}};
        ServiceTable table(true);
        for (int round = 0; round < 4; ++round) {
            INFO("seed " << seed << " round " << round);
            if (round > 0) scene.change();
            view.update(scene.mesh.snapshot(), scene.pods);
            table.update(view);
            ServiceTable fresh(true);
            fresh.update(view);
            for (uint32_t i = 0; i < 3; ++i)
                for (const uint16_t port : {uint16_t{80}, uint16_t{81}}) {
                    const base::SockAddr at{base::IpAddr::v4(0x0a600000u + i), port};
                    const ServiceTable::Row* row = table.find(at);
                    REQUIRE(text(row) == text(fresh.find(at)));
                    if (row == nullptr || row->rows.endpoints.empty()) {
                        ++left;
                        continue;
                    }
                    ++drawn;
                    std::set<base::SockAddr> endpoints;
                    for (const wr_endpoint_row& e : row->rows.endpoints)
                        endpoints.insert({*base::IpAddr::from_bytes(std::span(e.address.b, 16)), e.port});
                    for (const Member& from : view.members()) {
                        if (!from.record) continue;
                        bool straight = true;
                        INFO(at.to_string() << " from " << from.pod.id);
                        REQUIRE(routed(view.snapshot(), from, at, straight) == endpoints);
                        REQUIRE(straight);
                    }
                }
        }
    }
    CHECK(drawn > 300);
    CHECK(left > 300);
}
