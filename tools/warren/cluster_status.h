// SPDX-License-Identifier: Apache-2.0
// `warren status` of a cluster: a row a node, from its agent, and the controller's. Main's thread, which asks eight nodes at a time.
#pragma once

#include "tools/warren/cluster.h"

#include <map>
#include <string>

namespace warren::tools {

// What agents say of themselves, by node; an error where one does not answer or there is none.
[[nodiscard]] std::map<std::string, base::Result<Json>> ask_agents(const Context& context, const Cluster& cluster);

// kFindings with a part that is not ready.
[[nodiscard]] base::Result<int> status_of_nodes(const Context& context, Cluster& cluster);

}  // namespace warren::tools
