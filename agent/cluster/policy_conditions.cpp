// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/policy_conditions.h"

namespace warren::cluster {

namespace {

// "Kubernetes: AuthorizationPolicy NS/NAME: WHY" or "AuthorizationPolicy NS/NAME: WHY": the object says itself who it is.
std::string without_name(const std::string& text, const AuthorizationPolicy& policy) {
    const std::string name = policy.meta.key() + ": ";
    const size_t at = text.find(name);
    return at == std::string::npos ? text : text.substr(at + name.size());
}

}  // namespace

Told ztunnel_accepted(const AuthorizationPolicy& policy, bool enforced, const Diagnostics& problems) {
    std::string text;
    for (const auto* lines : {&problems.errors(), &problems.warnings()})
        for (const std::string& line : *lines) text += (text.empty() ? "" : "; ") + without_name(line, policy);
    if (!enforced && text.empty()) text = "annotation istio.io/dry-run: the policy is not enforced";
    if (text.empty()) return {ConditionType::ZtunnelAccepted, enforced, "Accepted", "enforced by node proxies"};
    return {ConditionType::ZtunnelAccepted, enforced, "UnsupportedValue", std::move(text)};
}

}  // namespace warren::cluster
