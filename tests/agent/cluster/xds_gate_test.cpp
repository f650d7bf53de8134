// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/xds_gate.h"

#include "tests/agent/cluster/issuance_fixture.h"

#include <atomic>

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

TEST_CASE("xds gate: guessing is limited by address before anybody is asked, and shuts out no node behind it") {
    GateWorld w;
    const std::string n1 = w.node_certificate("n1");
    const auto guess = [&](const std::string& peer) {
        const auto refused = w.open(GateWorld::caller("guess", "", peer));
        REQUIRE_FALSE(refused);
        return refused.error().code;
    };
    int heard = 0;
    while (guess("ipv4:10.0.0.1:" + std::to_string(heard + 1)) == Errc::Denied && heard < 1'000) ++heard;
    CHECK(heard == 50);
    CHECK(w.kubernetes.reviews == 50);
    CHECK(w.gate.stats().limited == 1);
    // Not even a good token, for it would tell that it is one; a certificate answers for itself, another address too.
    CHECK(w.open(GateWorld::caller("zt")).error().code == Errc::Exhausted);
    CHECK(w.open(GateWorld::caller("", n1)));
    CHECK(w.open(GateWorld::caller("zt", "", "ipv4:10.0.0.2:1")));
    w.clock.advance(1s);
    CHECK(w.open(GateWorld::caller("zt")));
    CHECK(guess("ipv4:10.0.0.1:9") == Errc::Denied);
}

TEST_CASE("xds gate: a good certificate does not wait behind tokens that a slow reviewer is asked about") {
    IssuanceWorld w;
    struct Slow final : cluster::TokenReviewer {
        std::atomic<bool> open = false;
        base::Result<cluster::ReviewedToken> review(std::string_view, std::string_view, base::MonoTime) override {
            open.wait(false);
            return base::Error{Errc::Denied, 0, "", "no"};
        }
    } slow;
    const cluster::Authenticator asks({w.authority.get(), w.tokens.get(), &slow, false});
    cluster::XdsGate::Options options;
    options.blocking = true;
    options.threads = 1;
    options.queue = 2;
    cluster::XdsGate gate(asks, options, w.clock);
    std::atomic<int> answers = 0;
    for (int i = 0; i < 4; ++i) gate.authenticate(GateWorld::caller("some"), [&](base::Result<std::string>) { ++answers; });
    std::atomic<bool> admitted = false;
    gate.authenticate(GateWorld::caller("", w.node_certificate("n1")), [&](base::Result<std::string> who) { admitted = who.has_value(); });
    CHECK(admitted);
    slow.open = true;
    slow.open.notify_all();
    gate.stop();
    CHECK(answers == 4);
    CHECK(gate.stats().overloaded >= 1);
}
