// SPDX-License-Identifier: Apache-2.0
// Whose record a pod has, whether the same-node path may start and end there, and what counts as a change.
#include "agent/node/mesh_view.h"

#include "agent/node/rejudge.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

using namespace warren;
using namespace warren::node;
using tests::MeshFixture;

namespace {

constexpr uint32_t kAll = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;

LocalPod pod(uint32_t id, const char* name, const char* ip) {
    LocalPod p;
    p.id = id;
    p.flags = kAll;
    p.ns = policy::Text("shop");
    p.name = policy::Text(name);
    p.service_account = policy::Text("default");
    p.v4 = tests::ip(ip);
    return p;
}

struct Scene {
    MeshFixture mesh;
    MeshSettings settings{{}, "node-a", {}};
    std::vector<LocalPod> pods{pod(2, "web", "10.0.0.2"), pod(1, "client", "10.0.0.1")};
    Scene() { mesh.workload("shop/client").ip("10.0.0.1").hbone(); }
    tests::WorkloadBuilder web() { return mesh.workload("shop/web").ip("10.0.0.2").hbone(); }
    MeshView view() {
        MeshView v(settings);
        v.update(mesh.snapshot(), pods);
        return v;
    }
    std::pair<NotDirect, NotDirect> why() {
        const MeshView v = view();
        const Member* m = v.find(2);
        REQUIRE(m != nullptr);
        return {m->as_source, m->as_destination};
    }
};
using Why = std::pair<NotDirect, NotDirect>;

}  // namespace

TEST_CASE("mesh view: members stand by id with the record of their name, account and node") {
    Scene s;
    s.web();
    const MeshView v = s.view();
    REQUIRE(v.members().size() == 2);
    CHECK(v.members()[0].pod.id == 1);
    CHECK(v.members()[1].record->uid == MeshFixture::uid("shop/web"));
    CHECK(v.members()[1].identity.uri() == "spiffe://cluster.local/ns/shop/sa/default");
    CHECK(v.members()[1].policies != nullptr);
    CHECK(v.find(3) == nullptr);
    CHECK(s.why() == Why{NotDirect::No, NotDirect::No});
}

TEST_CASE("mesh view: a pod without names is found by uid, else by address, and never against what it states") {
    Scene s;
    s.web();
    LocalPod& p = s.pods[0];
    p.name = p.ns = p.service_account = {};
    CHECK(s.why() == Why{NotDirect::No, NotDirect::No});
    p.uid = policy::Text(MeshFixture::uid("shop/web"));
    p.v4 = tests::ip("10.0.0.77");  // the record has another address
    CHECK(s.why() == Why{NotDirect::No, NotDirect::SharedAddress});
    p.service_account = policy::Text("someone");
    CHECK(s.why() == Why{NotDirect::UnknownWorkload, NotDirect::UnknownWorkload});
    p.service_account = {};
    p.uid = policy::Text("Kubernetes//Pod/shop/other");
    CHECK(s.why() == Why{NotDirect::UnknownWorkload, NotDirect::UnknownWorkload});
    p = pod(2, "web", "10.0.0.2");
    p.uid = policy::Text("Kubernetes//Pod/shop/other");
    CHECK(s.why() == Why{NotDirect::UnknownWorkload, NotDirect::UnknownWorkload});
}

TEST_CASE("mesh view: why a pod takes the tunnel") {
    Scene s;
    const auto expect = [&](NotDirect source, NotDirect destination) { CHECK(s.why() == Why{source, destination}); };
    SECTION("no record") { expect(NotDirect::UnknownWorkload, NotDirect::UnknownWorkload); }
    SECTION("a record of another node") {
        s.web().node("node-b");
        expect(NotDirect::UnknownWorkload, NotDirect::UnknownWorkload);
    }
    SECTION("a record on the node's network") {
        s.web().host_network();
        expect(NotDirect::UnknownWorkload, NotDirect::UnknownWorkload);
    }
    SECTION("a record of another network") {
        s.web().network("net-b");
        expect(NotDirect::OtherNetwork, NotDirect::OtherNetwork);
    }
    SECTION("no outbound capture") {
        s.web();
        s.pods[0].flags = WR_POD_INBOUND | WR_POD_DIRECT;
        expect(NotDirect::NotCaptured, NotDirect::No);
    }
    SECTION("no inbound capture") {
        s.web();
        s.pods[0].flags = WR_POD_OUTBOUND | WR_POD_DIRECT;
        expect(NotDirect::No, NotDirect::NotCaptured);
    }
    SECTION("no address") {
        s.web();
        s.pods[0].v4 = std::nullopt;
        expect(NotDirect::No, NotDirect::NoAddress);
    }
    SECTION("a waypoint") {
        s.web().waypoint("10.0.9.9");
        expect(NotDirect::No, NotDirect::Waypoint);
    }
    SECTION("no HBONE") {
        s.web()->tunnel_protocol = policy::TunnelProtocol::None;
        expect(NotDirect::No, NotDirect::OwnTunnel);
    }
    SECTION("a tunnel of its own") {
        s.web()->native_tunnel = true;
        expect(NotDirect::No, NotDirect::OwnTunnel);
    }
    SECTION("an application tunnel") {
        s.web().app_tunnel(policy::AppTunnelProtocol::Proxy, 8081);
        expect(NotDirect::No, NotDirect::OwnTunnel);
    }
    SECTION("an address that another workload claims") {
        s.web();
        s.mesh.workload("shop/thief").ip("10.0.0.2").hbone();
        expect(NotDirect::No, NotDirect::SharedAddress);
    }
    SECTION("an address inside a service's prefix") {
        s.web();
        s.mesh.service("shop/entry.example").cidr("", "10.0.0.0/24");
        expect(NotDirect::No, NotDirect::SharedAddress);
    }
    SECTION("sameNode of the annotation") {
        s.web();
        s.pods[0].same_node = SameNode::Encrypted;
        expect(NotDirect::Encrypted, NotDirect::Encrypted);
    }
    SECTION("sameNode of the namespace") {
        s.web();
        s.settings.same_node = SameNodeRules::make(SameNode::Direct, {{"shop", "", SameNode::Off}}).value();
        expect(NotDirect::SwitchedOff, NotDirect::SwitchedOff);
    }
    SECTION("not because it is unhealthy: the tunnel takes an address as it is") {
        s.web().unhealthy();
        expect(NotDirect::No, NotDirect::No);
    }
}

TEST_CASE("mesh view: observed pods, the id 0 and ids given twice are no members") {
    Scene s;
    s.web();
    s.pods.push_back(pod(3, "seen", "10.0.0.3"));
    s.pods.back().flags = WR_POD_OBSERVED;
    s.pods.push_back(pod(0, "none", "10.0.0.4"));
    s.pods.push_back(pod(2, "twin", "10.0.0.5"));
    const MeshView v = s.view();
    REQUIRE(v.members().size() == 2);
    CHECK(v.find(2)->pod.name == "web");
}

TEST_CASE("mesh view: versions grow with what verdicts depend on, and with nothing else") {
    Scene s;
    s.web();
    MeshView v(s.settings);
    REQUIRE(v.update(s.mesh.snapshot(), s.pods));
    const auto versions = [&] { return std::pair{v.find(2)->source_version, v.find(2)->destination_version}; };
    auto last = versions();
    const uint64_t client = v.find(1)->source_version;
    CHECK(!v.update(s.mesh.snapshot(), s.pods));
    s.mesh.workload("shop/other").ip("10.0.0.9").hbone();
    CHECK(!v.update(s.mesh.snapshot(), s.pods));
    s.web().capacity(9);  // a new record, but nothing that a verdict reads
    CHECK(v.update(s.mesh.snapshot(), s.pods));
    CHECK(versions() == last);
    s.web().waypoint("10.0.9.9");
    CHECK(v.update(s.mesh.snapshot(), s.pods));
    CHECK(versions().first == last.first);
    CHECK(versions().second > last.second);
    last = versions();
    s.web().waypoint("10.0.9.9")->trust_domain = policy::Text("other");
    CHECK(v.update(s.mesh.snapshot(), s.pods));
    CHECK(versions().first > last.first);
    CHECK(versions().second == last.second);
    CHECK(v.find(1)->source_version == client);
}

TEST_CASE("same node: the most specific setting counts, and a pod can lift a default but not a demand") {
    const auto rules = SameNodeRules::make(
        SameNode::Off, {{"shop", "", SameNode::Encrypted}, {"shop", "cart", SameNode::Direct}, {"shop", "cart-1", SameNode::Off}});
    REQUIRE(rules);
    const auto mode = [&](const char* ns, const char* workload, const char* name, std::optional<SameNode> annotation = {}) {
        return rules->mode_for({ns, workload, name, annotation});
    };
    CHECK(mode("ops", "job", "job-1") == SameNode::Off);
    CHECK(mode("ops", "job", "job-1", SameNode::Direct) == SameNode::Direct);
    CHECK(mode("ops", "job", "job-1", SameNode::Encrypted) == SameNode::Encrypted);
    CHECK(mode("shop", "web", "web-1") == SameNode::Encrypted);
    CHECK(mode("shop", "web", "web-1", SameNode::Direct) == SameNode::Encrypted);
    CHECK(mode("shop", "web", "web-1", SameNode::Off) == SameNode::Encrypted);
    CHECK(mode("shop", "cart", "cart-2") == SameNode::Direct);
    CHECK(mode("shop", "cart", "cart-2", SameNode::Off) == SameNode::Off);
    CHECK(mode("shop", "cart", "cart-1") == SameNode::Off);
    CHECK(SameNodeRules().mode_for({}) == SameNode::Direct);
}

TEST_CASE("same node: settings that make no sense are refused by name") {
    const auto twice = SameNodeRules::make(SameNode::Direct, {{"shop", "", SameNode::Off}, {"shop", "", SameNode::Off}});
    REQUIRE(!twice);
    CHECK(twice.error().message().find("sameNode.overrides[1]: \"shop\"") != std::string::npos);
    const auto nameless = SameNodeRules::make(SameNode::Direct, {{"", "cart", SameNode::Off}});
    REQUIRE(!nameless);
    CHECK(nameless.error().message().find("sameNode.overrides[0].namespace") != std::string::npos);
    for (const SameNode mode : {SameNode::Direct, SameNode::Encrypted, SameNode::Off})
        CHECK(parse_same_node(to_string(mode)).value() == mode);
    const auto bad = parse_same_node("Direct");
    REQUIRE(!bad);
    CHECK(bad.error().message().find("\"Direct\" is none of") != std::string::npos);
}
