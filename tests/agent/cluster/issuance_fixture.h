// SPDX-License-Identifier: Apache-2.0
// A certificate service without its gRPC: an authority, tokens, Kubernetes as a table, and a node "n1" that runs prod/web.
#pragma once

#include "agent/cluster/issuance.h"
#include "agent/cluster/node_name.h"
#include "tests/agent/cluster/ca_fixture.h"

#include <map>

namespace warren::tests {

// Tokens by their text; pods by "ns/name".
class FakeCluster final : public cluster::TokenReviewer, public cluster::CallerPods {
  public:
    struct Pod {
        std::string uid, account, node;
    };
    std::map<std::string, cluster::ReviewedToken, std::less<>> tokens;
    std::map<std::string, Pod> pods;
    std::atomic<int> reviews = 0;

    base::Result<cluster::ReviewedToken> review(std::string_view token, std::string_view, base::MonoTime) override {
        ++reviews;
        const auto found = tokens.find(token);
        if (found == tokens.end()) return base::Error{base::Errc::Denied, 0, "", "the API server does not know it"};
        return found->second;
    }
    [[nodiscard]] std::optional<std::string> node_of(const cluster::CallerIdentity& caller) const override {
        const auto found = pods.find(std::string(caller.identity.ns()) + "/" + caller.pod_name);
        if (found == pods.end() || found->second.uid != caller.pod_uid || found->second.account != caller.identity.service_account())
            return std::nullopt;
        return found->second.node;
    }
};

inline const policy::Identity kWeb("cluster.local", "prod", "web");
inline const policy::Identity kDb("cluster.local", "prod", "db");

struct IssuanceWorld : CaWorld {
    std::unique_ptr<cluster::Authority> authority = open();
    std::unique_ptr<cluster::TokenTable> tokens = std::move(*cluster::TokenTable::open(dir.file("tokens.json"), clock));
    FakeCluster kubernetes;
    cluster::NodeWorkloads workloads;
    std::unique_ptr<cluster::AuditLog> audit = std::move(*cluster::AuditLog::open(dir.file("audit.log"), clock));
    cluster::Authenticator authenticator;
    cluster::NodeAuthorizer authorizer;
    cluster::Issuance issuance;

    explicit IssuanceWorld(const cluster::IssuanceLimits& limits = {}, bool demo = false,
                           std::chrono::seconds ago = std::chrono::seconds(0))
        : CaWorld(ago),
          authenticator({authority.get(), tokens.get(), &kubernetes, demo}),
          authorizer({"cluster.local",
                      &workloads,
                      &kubernetes,
                      {"istio-system/ztunnel"},
                      [this](std::string_view node) { return authority->node_revoked(node); }}),
          issuance({authority.get(), &authenticator, &authorizer, audit.get(), tokens.get()}, limits, clock) {
        workloads.add("n1", kWeb);
        kubernetes.tokens["zt"] = {"istio-system", "ztunnel", "zt-1", "uid-1"};
        kubernetes.pods["istio-system/zt-1"] = {"uid-1", "ztunnel", "n1"};
    }
    std::string token(const std::string& name, const std::string& node, std::chrono::seconds life = std::chrono::hours(1),
                      uint32_t uses = 1) {
        auto made = cluster::add_token(dir.file("tokens.json"), {name, node, clock.wall() + life, uses}, clock.wall());
        REQUIRE(made);
        return std::move(*made);
    }
    std::string node_certificate(const std::string& node) {
        return sign(*authority, std::chrono::seconds(0), {cluster::Purpose::Node, cluster::node_uri("cluster.local", node), {}})
            .chain.front();
    }
    // Both steps at once.
    base::Result<cluster::IssuedCertificate> ask(const cluster::PresentedCredentials& shown, const std::string& wanted) {
        const auto caller = TRY(issuance.admit(shown, clock.now() + std::chrono::seconds(1)));
        const std::string csr = fresh_request().csr_pem;
        return issuance.issue(caller, {csr, std::chrono::seconds(0), wanted}, shown.peer);
    }
    std::string audit_text() {
        REQUIRE(audit->flush());
        auto text = base::read_small_file(dir.file("audit.log"), 1 << 22);
        REQUIRE(text);
        return std::move(*text);
    }
};

}  // namespace warren::tests
