// SPDX-License-Identifier: Apache-2.0
// What the author of an AuthorizationPolicy is told (Kubernetes contract 2.9, 3.3, 3.5). The reading that decides what is enforced decides
// this too, so the two cannot differ. Pure functions.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_policies.h"

namespace warren::cluster {

// ZtunnelAccepted, of a policy that is for node proxies. problems: of its conversion; enforced: something came out of it.
[[nodiscard]] Told ztunnel_accepted(const AuthorizationPolicy& policy, bool enforced, const Diagnostics& problems);

}  // namespace warren::cluster
