// SPDX-License-Identifier: Apache-2.0
// The agent's end against a real API server: replaced, removed, or not to be told.
#include "agent/node/departure.h"

#include "tests/catch.h"
#include "tests/kube/api_server.h"

#include <chrono>
#include <string>

using namespace warren;
using namespace warren::node;
using namespace warren::tests;
using namespace std::chrono_literals;

namespace {

constexpr const char* kDaemonSet = R"({"metadata":{"name":"agent"},"spec":{"selector":{"matchLabels":{"app":"agent"}},
  "template":{"metadata":{"labels":{"app":"agent"}},"spec":{"containers":[{"name":"a","image":"a"}]}}}})";
constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata: {name: agent-1, namespace: mesh, labels: {app: agent}}
spec: {containers: [{name: a, image: a}]}
)";

base::MonoTime in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

}  // namespace

TEST_CASE("departure: the DaemonSet tells whether an agent is replaced or removed") {
    ApiServer server;
    const DaemonSetName self = *DaemonSetName::parse("mesh/agent");
    server.apply(kPod);
    REQUIRE(server.admin().call({kube::Method::Post, "/apis/apps/v1/namespaces/mesh/daemonsets", kDaemonSet}));
    const auto stays = departure_of(server.admin(), self, in(5s));
    REQUIRE(stays);
    CHECK(*stays == Departure::Replaced);

    // The account is gone, and the token with it.
    kube::KubeConfig config = server.config();
    config.certificate = {};
    config.key = {};
    config.token = "of-nobody";
    kube::Client nobody(*kube::Endpoint::create(config));
    const auto disowned = departure_of(nobody, self, in(5s));
    REQUIRE(disowned);
    CHECK(*disowned == Departure::Removed);

    // A known account without the role is no proof, nor is silence.
    config.token.clear();
    kube::Client nameless(*kube::Endpoint::create(config));
    const auto refused = departure_of(nameless, self, in(1s));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == base::Errc::Denied);
    server.stop_api();
    CHECK_FALSE(departure_of(server.admin(), self, in(1s)));
    server.start_api();

    // Nothing collects garbage here: the pod stays, and the DaemonSet with a deletion time.
    const auto late = retire(server.admin(), self, "app=agent", in(2s));
    REQUIRE_FALSE(late);
    CHECK(late.error().code == base::Errc::Timeout);
    CHECK(late.error().message().find("agent-1") != std::string::npos);
    const auto going = departure_of(server.admin(), self, in(5s));
    REQUIRE(going);
    CHECK(*going == Departure::Removed);
    CHECK(server.admin().call({kube::Method::Delete, "/api/v1/namespaces/mesh/pods/agent-1?gracePeriodSeconds=0"}));
    CHECK(retire(server.admin(), self, "app=agent", in(5s)));

    const auto never = departure_of(server.admin(), {"mesh", "other"}, in(5s));
    REQUIRE(never);
    CHECK(*never == Departure::Removed);
    CHECK_FALSE(DaemonSetName::parse("mesh"));
    CHECK_FALSE(DaemonSetName::parse("mesh/a/b"));
}
