// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy -> istio.security.Authorization (Kubernetes contract 3.3 to 3.5, 3.7). A pure function of the policy.
//
// Where the reference would let more through than the policy says, this does not: an empty selector selects everything (there it attaches
// to nothing), and a value that does not parse never widens an ALLOW nor narrows a DENY (there it is left out silently). Such a value is
// an error in the diagnostics even though a policy comes out.
#pragma once

#include "agent/cluster/convert.h"

#include <optional>

namespace warren::cluster {

// Nothing: not for node proxies (a target, AUDIT or CUSTOM, a dry run).
[[nodiscard]] std::optional<istio::security::Authorization> convert_authorization(const AuthorizationPolicy& policy,
                                                                                  const Settings& settings, Diagnostics& problems);

}  // namespace warren::cluster
