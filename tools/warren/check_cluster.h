// SPDX-License-Identifier: Apache-2.0
// Findings in the cluster's objects. Pure, but for the last, which asks the API server that a kubeconfig or the pod's account names.
#pragma once

#include "tools/warren/findings.h"

namespace warren::tools {

// NetworkPolicies that the same-node path would run into: it is plain TCP from pod to pod, so whoever enforces them sees the pods' own
// ports there and not the tunnel's 15008. An agent that knows them takes the tunnel by itself; then it matters whether that gets through.
// policies, pods: lists of the API server; status: the agent's, which says whom it captured and what it knows.
void check_network_policies(const Json& policies, const Json& pods, const Json& status, Findings& to);

// Nothing where there is no cluster to ask.
void check_cluster(const Context& context, const Json& status, Findings& to);

}  // namespace warren::tools
