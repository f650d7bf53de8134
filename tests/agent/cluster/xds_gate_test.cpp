// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/xds_gate.h"

#include "tests/agent/cluster/issuance_fixture.h"

using namespace std::chrono_literals;
using namespace warren;
using namespace warren::tests;
using base::Errc;

namespace {

// Without a reviewer that blocks, the answer is there when authenticate() returns.
struct GateWorld : IssuanceWorld {
    cluster::XdsGate gate;

    explicit GateWorld(cluster::XdsGate::Options wanted = {}) : gate(authenticator, with_pods(wanted), clock) {}
    cluster::XdsGate::Options with_pods(cluster::XdsGate::Options wanted) const {
        wanted.pods = &kubernetes;
        return wanted;
    }
    static xds::Caller caller(const std::string& bearer, const std::string& certificate = "", const std::string& peer = "ipv4:10.0.0.1:1") {
        xds::Caller made;
        made.peer = peer;
        made.tls = true;
        made.certificate = certificate;
        if (!bearer.empty()) made.metadata.emplace_back("authorization", "Bearer " + bearer);
        return made;
    }
    base::Result<std::string> open(const xds::Caller& who) {
        base::Result<std::string> answer = base::Error{Errc::Internal, 0, "", "no answer"};
        gate.authenticate(who, [&](base::Result<std::string> identity) { answer = std::move(identity); });
        return answer;
    }
    static xds::NodeInfo node(const std::string& name, const std::string& ns = "istio-system") {
        xds::NodeInfo info;
        info.domain = ns + ".svc.cluster.local";
        if (!name.empty()) info.metadata["NODE_NAME"] = name;
        return info;
    }
};

}  // namespace

TEST_CASE("xds gate: a bootstrap token opens no stream, and is told nothing that one that is wrong is not") {
    GateWorld w;
    const auto good = w.open(GateWorld::caller(w.token("rack", "*")));
    REQUIRE_FALSE(good);
    CHECK(good.error().code == Errc::Denied);
    const auto wrong = w.open(GateWorld::caller("warren-join-0000"));
    REQUIRE_FALSE(wrong);
    CHECK(good.error().message() == wrong.error().message());
    CHECK(w.gate.stats().refused == 2);
    CHECK(w.gate.stats().admitted == 0);
    // What it is exchanged for does.
    const auto node = w.open(GateWorld::caller("", w.node_certificate("n1")));
    REQUIRE(node);
    CHECK(*node == "node/n1");
    CHECK(w.gate.authorize(*node, GateWorld::node("n1")));
    CHECK(w.gate.authorize(*node, GateWorld::node("")));
    CHECK(w.gate.authorize(*node, GateWorld::node("n2")).error().code == Errc::Denied);
}

TEST_CASE("xds gate: a service account's token is bound to the node of its pod, and ends with that node's revocation") {
    GateWorld w;
    const auto pod = w.open(GateWorld::caller("zt"));
    REQUIRE(pod);
    CHECK(pod->starts_with("account/istio-system/ztunnel@n1 "));
    CHECK(w.gate.authorize(*pod, GateWorld::node("n1")));
    CHECK(w.gate.authorize(*pod, GateWorld::node("")));
    CHECK(w.gate.authorize(*pod, GateWorld::node("n2")).error().message().find("NODE_NAME") != std::string::npos);
    CHECK_FALSE(w.gate.authorize(*pod, GateWorld::node("n1", "prod")));
    // The token itself says it where the API server is new enough; one that is bound to no pod is bound to no node.
    w.kubernetes.tokens["app"] = {"prod", "app", "app-1", "uid-9", "n7"};
    const auto app = w.open(GateWorld::caller("app"));
    REQUIRE(app);
    CHECK_FALSE(w.gate.authorize(*app, GateWorld::node("n1", "prod")));
    CHECK(w.gate.authorize(*app, GateWorld::node("n7", "prod")));
    w.kubernetes.tokens["loose"] = {"prod", "app", "", ""};
    CHECK(w.gate.authorize(*w.open(GateWorld::caller("loose")), GateWorld::node("n1", "prod")));
    CHECK(w.gate.recheck(*pod, ""));
    w.dir.write("state/revoked", "node n1\n");
    REQUIRE(*w.authority->refresh());
    CHECK_FALSE(w.gate.recheck(*pod, ""));
    CHECK_FALSE(w.gate.authorize(*pod, GateWorld::node("n1")));
    CHECK(w.gate.recheck(*app, ""));
    cluster::PresentedCredentials shown;
    shown.bearer = "zt";
    CHECK(w.ask(shown, kWeb.uri()).error().message().find("node n1 is revoked") != std::string::npos);
}
