// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/caller.h"

#include "agent/cluster/node_name.h"
#include "base/log.h"

namespace warren::cluster {

namespace {
const base::log::Area kLog("ca");

constexpr size_t kMaxBearer = 16UL * 1024;

base::Error denied(std::string why) { return {base::Errc::Denied, 0, "", std::move(why)}; }
}  // namespace

std::string_view bearer_of(std::string_view authorization) {
    constexpr std::string_view kScheme = "Bearer ";
    return authorization.starts_with(kScheme) ? authorization.substr(kScheme.size()) : std::string_view();
}

Authenticator::Authenticator(AuthenticatorParts parts) : parts_(parts) {
    if (parts_.insecure_demo)
        WARREN_LOG(
            kLog, base::log::Level::Warn,
            "INSECURE DEMO: certificates are signed for any workload identity, for anybody who asks; never do this outside of a lab");
}

base::Result<CallerIdentity> Authenticator::by_certificate(std::string_view pem) const {
    const PeerCertificate peer = TRY(parts_.authority->verify(pem));
    // A workload's certificate is for its peers; it buys nothing here, or a pod that is gone could renew itself for ever.
    if (!is_node_uri(peer.uri)) return denied("the client certificate is of " + peer.uri + ", which is no node");
    CallerIdentity caller;
    caller.kind = CallerKind::Node;
    caller.node = TRY(node_of_uri(peer.uri, parts_.authority->options().trust_domain));
    if (parts_.authority->node_revoked(caller.node)) return denied("node " + caller.node + " is revoked");
    caller.name = "node/" + caller.node;
    return caller;
}

base::Result<CallerIdentity> Authenticator::by_token(const PresentedCredentials& shown, base::MonoTime deadline) const {
    CallerIdentity caller;
    caller.cluster_id = shown.cluster_id;
    if (shown.bearer.size() > kMaxBearer) return denied("a token of " + std::to_string(shown.bearer.size()) + " bytes");
    if (looks_like_bootstrap_token(shown.bearer)) {
        if (parts_.tokens == nullptr) return denied("bootstrap tokens are not in use");
        BootstrapToken token = TRY(parts_.tokens->find(shown.bearer));
        caller.kind = CallerKind::Bootstrap;
        caller.name = "token/" + token.name;
        caller.node = token.node;
        caller.token = std::move(token);
        return caller;
    }
    if (parts_.reviewer == nullptr) return denied("the token is no bootstrap token, and there is nobody to review others");
    ReviewedToken token = TRY(parts_.reviewer->review(shown.bearer, shown.cluster_id, deadline));
    if (token.ns.empty() || token.service_account.empty()) return denied("the token is not of a service account");
    caller.kind = CallerKind::Kubernetes;
    caller.identity = policy::Identity(parts_.authority->options().trust_domain, token.ns, token.service_account);
    caller.name = "ns/" + token.ns + "/sa/" + token.service_account;
    if (!token.pod_name.empty()) caller.name += " pod/" + token.pod_name;
    caller.pod_name = std::move(token.pod_name);
    caller.pod_uid = std::move(token.pod_uid);
    caller.node = std::move(token.node);
    return caller;
}

base::Result<CallerIdentity> Authenticator::authenticate(const PresentedCredentials& shown, base::MonoTime deadline) const {
    base::Error why = denied("neither a client certificate nor a token was shown");
    if (!shown.certificate_pem.empty()) {
        auto caller = by_certificate(shown.certificate_pem);
        if (caller) return caller;
        why = std::move(caller).error();
    }
    if (!shown.bearer.empty()) {
        auto caller = by_token(shown, deadline);
        if (caller) return caller;
        why = std::move(caller).error();
    }
    if (parts_.insecure_demo) {
        CallerIdentity anonymous;
        anonymous.name = "anonymous";
        return anonymous;
    }
    const bool unknown = why.code != base::Errc::Denied && why.code != base::Errc::Invalid;
    return base::Error{unknown ? base::Errc::Unavailable : base::Errc::Denied, 0, "", why.message()};
}

base::Result<void> Authenticator::recheck(std::string_view caller_name, std::string_view certificate_pem) const {
    if (caller_name.starts_with("node/")) TRY(by_certificate(certificate_pem));
    return {};
}

}  // namespace warren::cluster
