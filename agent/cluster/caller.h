// SPDX-License-Identifier: Apache-2.0
// Who is asking, and how that is found out (Kubernetes contract 4.2): a client certificate of a node that this authority issued, a
// bootstrap token, or a Kubernetes token through a TokenReviewer; first success wins. The xDS server asks the same Authenticator. Values
// and interfaces; authenticate() is for any thread and blocks as long as the reviewer does, until the deadline at most. Denied says what was
// wrong for the audit log; the caller is only told that it failed. Unavailable: nobody could say who it is, which is not the caller's fault.
#pragma once

#include "agent/cluster/authority.h"
#include "agent/cluster/bootstrap_token.h"
#include "base/result.h"
#include "policy/identity.h"

#include <string>
#include <string_view>

namespace warren::cluster {

enum class CallerKind : uint8_t { Node, Bootstrap, Kubernetes, Anonymous };

struct CallerIdentity {
    CallerKind kind = CallerKind::Anonymous;
    std::string name;           // for logs and limits: "node/rack-1", "token/rack", "ns/istio-system/sa/ztunnel pod/ztunnel-x", "anonymous"
    std::string node;           // Node: its name. Bootstrap: the name or the pattern that the token is good for. Kubernetes: of its pod,
                                // when the token says so
    policy::Identity identity;  // Kubernetes: of its service account
    std::string pod_name, pod_uid;
    std::string cluster_id;
    std::optional<BootstrapToken> token = {};  // Bootstrap: which; used up when a certificate is made for it
};

struct PresentedCredentials {
    std::string_view certificate_pem = {};  // the client certificate of the connection, whose key the peer has proven to hold
    std::string_view bearer = {};           // without "Bearer "
    std::string_view cluster_id = {};
    std::string_view peer = {};  // gRPC's text
};

struct ReviewedToken {
    std::string ns, service_account;
    std::string pod_name, pod_uid;  // empty when the token is not bound to a pod
    std::string node = {};          // of that pod, when the API server says so (since 1.30)
};

// TokenReview of the Kubernetes API, audience istio-ca. May block up to the deadline; called from several threads.
class TokenReviewer {
  public:
    virtual ~TokenReviewer() = default;
    virtual base::Result<ReviewedToken> review(std::string_view token, std::string_view cluster_id, base::MonoTime deadline) = 0;
};

struct AuthenticatorParts {
    const Authority* authority = nullptr;  // all outlive the authenticator
    TokenTable* tokens = nullptr;          // may be null
    TokenReviewer* reviewer = nullptr;     // may be null
    bool insecure_demo = false;            // whoever shows nothing valid is let in as Anonymous
};

class Authenticator {
  public:
    explicit Authenticator(AuthenticatorParts parts);
    [[nodiscard]] base::Result<CallerIdentity> authenticate(const PresentedCredentials& shown, base::MonoTime deadline) const;
    // Does what a caller was let in for still hold: a node's certificate? Denied says what does not. Never
    // blocks: of a Kubernetes account, only a new stream asks the reviewer again.
    [[nodiscard]] base::Result<void> recheck(std::string_view caller_name, std::string_view certificate_pem) const;
    [[nodiscard]] bool node_revoked(std::string_view node) const { return parts_.authority->node_revoked(node); }

  private:
    base::Result<CallerIdentity> by_certificate(std::string_view pem) const;
    base::Result<CallerIdentity> by_token(const PresentedCredentials& shown, base::MonoTime deadline) const;
    const AuthenticatorParts parts_;
};

// "Bearer TOKEN": the token; empty when it is another scheme.
[[nodiscard]] std::string_view bearer_of(std::string_view authorization);

}  // namespace warren::cluster
