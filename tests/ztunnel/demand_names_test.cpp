// SPDX-License-Identifier: Apache-2.0
// What a connection needs before it can be routed (data-plane contract 3.6, 5.2, 5.4, 5.5).
#include "ztunnel/demand_names.h"

#include "tests/catch.h"
#include "tests/policy/mesh_builder.h"

#include <algorithm>

using namespace warren;
using namespace warren::tests;
using Names = std::vector<std::string>;

namespace {

struct Lookup {
    policy::Mesh mesh;
    policy::WorkloadRef source = workload({.uid = "source", .addresses = {"10.0.0.1"}});

    void add(policy::WorkloadRef w) {
        policy::Batch batch;
        batch.workloads.push_back(std::move(w));
        mesh.apply(std::move(batch));
    }
    void add(policy::ServiceRef s) {
        policy::Batch batch;
        batch.services.push_back(std::move(s));
        mesh.apply(std::move(batch));
    }
    [[nodiscard]] ztunnel::DemandNames operator()(std::string_view ip_text, bool services = false) const {
        return ztunnel::demand_names(*mesh.snapshot(), {*source, at(ip_text), services});
    }
};

std::unique_ptr<const policy::GatewayAddress> gateway(std::string_view name) {
    policy::GatewayAddress g;
    g.destination = policy::Text(name);
    g.hbone_mtls_port = 15008;
    return std::make_unique<const policy::GatewayAddress>(std::move(g));
}

std::unique_ptr<const policy::GatewayAddress> gateway(const policy::NetworkAddress& address) {
    policy::GatewayAddress g;
    g.destination = address;
    g.hbone_mtls_port = 15008;
    return std::make_unique<const policy::GatewayAddress>(std::move(g));
}

policy::WorkloadRef with_waypoint(const WorkloadSpec& spec, std::unique_ptr<const policy::GatewayAddress> waypoint) {
    const auto plain = workload(spec);
    const_cast<policy::Workload&>(*plain).waypoint = std::move(waypoint);
    return plain;
}

policy::ServiceRef with_waypoint(const ServiceSpec& spec, std::unique_ptr<const policy::GatewayAddress> waypoint) {
    const auto plain = service(spec);
    const_cast<policy::Service&>(*plain).waypoint = std::move(waypoint);
    return plain;
}

}  // namespace

TEST_CASE("demand names: an address nobody has is needed, in both families; one that is known is only used") {
    Lookup l;
    CHECK(l("10.9.9.9").needed == Names{"/10.9.9.9"});
    CHECK(l("fd00::9").needed == Names{"/fd00::9"});
    l.add(workload({.uid = "w", .addresses = {"10.9.9.9"}}));
    CHECK(l("10.9.9.9").needed.empty());
    CHECK(l("10.9.9.9").used == Names{"/10.9.9.9"});
}

TEST_CASE("demand names: a known service is needed by name where services come without their endpoints") {
    Lookup l;
    l.add(service({.ns = "ns", .hostname = "web", .vips = {at("10.1.1.1")}}));
    CHECK(l("10.1.1.1").needed.empty());
    CHECK(l("10.1.1.1").used == Names{"/10.1.1.1", "ns/web"});
    CHECK(l("10.1.1.1", true).needed == Names{"ns/web"});
}

TEST_CASE("demand names: waypoints by name and by address, and what stands behind them") {
    Lookup l;
    l.add(with_waypoint(WorkloadSpec{.uid = "w", .addresses = {"10.9.9.9"}}, gateway("ns/wp")));
    CHECK(l("10.9.9.9").needed == Names{"ns/wp"});
    l.add(service({.ns = "ns", .hostname = "wp"}));
    CHECK(l("10.9.9.9").needed.empty());
    CHECK(l("10.9.9.9", true).needed == Names{"ns/wp"});
    l.add(with_waypoint(ServiceSpec{.ns = "ns", .hostname = "web", .vips = {at("10.1.1.1")}}, gateway(at("10.1.1.2"))));
    CHECK(l("10.1.1.1").needed == Names{"/10.1.1.2"});
    l.add(workload({.uid = "wp", .addresses = {"10.1.1.2"}}));
    CHECK(l("10.1.1.1").needed.empty());
}

TEST_CASE("demand names: the gateway of endpoints in another network, and waypoints that name each other end") {
    Lookup l;
    const auto far = workload({.uid = "far", .services = {"ns/web"}, .network = "remote"});
    const_cast<policy::Workload&>(*far).network_gateway = gateway(at("10.1.1.7"));
    l.add(far);
    l.add(service({.ns = "ns", .hostname = "web", .vips = {at("10.1.1.1")}}));
    CHECK(l("10.1.1.1").needed == Names{"/10.1.1.7"});

    l.add(with_waypoint(ServiceSpec{.ns = "ns", .hostname = "a", .vips = {at("10.1.2.1")}}, gateway("ns/b")));
    l.add(with_waypoint(ServiceSpec{.ns = "ns", .hostname = "b"}, gateway("ns/a")));
    CHECK(l("10.1.2.1", true).needed == Names{"ns/a", "ns/b"});
}

TEST_CASE("demand names: what a name covers is its record and, of a service, the endpoints") {
    Lookup l;
    l.add(workload({.uid = "w", .addresses = {"10.9.9.9"}, .services = {"ns/web"}}));
    l.add(service({.ns = "ns", .hostname = "web", .vips = {at("10.1.1.1")}}));
    const auto covers = [&](std::string_view name) {
        auto list = ztunnel::demand_covers(*l.mesh.snapshot(), name);
        std::sort(list.begin(), list.end());
        return Names(list.begin(), list.end());
    };
    CHECK(covers("/10.9.9.9") == Names{"w"});
    CHECK(covers("/10.1.1.1") == Names{"ns/web", "w"});
    CHECK(covers("ns/web") == Names{"ns/web", "w"});
    CHECK(covers("w") == Names{"w"});
    CHECK(covers("/10.7.7.7").empty());
    CHECK(covers("no-slash").empty());
    CHECK(ztunnel::demand_is_there(*l.mesh.snapshot(), "/10.1.1.1"));
    CHECK_FALSE(ztunnel::demand_is_there(*l.mesh.snapshot(), "other/10.1.1.1"));
    CHECK_FALSE(ztunnel::demand_is_there(*l.mesh.snapshot(), "ns/web"));  // its endpoints may be missing
}
