// SPDX-License-Identifier: Apache-2.0
// Findings of `warren check --cluster`: whether a cluster is fit for the mesh, before an installation, and whether the mesh that is there
// is in order. The parts are pure functions of what the API server says.
#pragma once

#include "tools/warren/findings.h"

namespace warren::tools {

// version: of /version. nodes, daemon_sets: lists of the API server.
void check_version(const Json& version, Findings& to);
void check_nodes(const Json& nodes, Findings& to);
// Other node agents and tunnels; ours are told from them by their label.
void check_others(const Json& daemon_sets, Findings& to);

// All of it, by kubectl. What this user may not look at is a note.
[[nodiscard]] Findings check_whole_cluster(const Context& context);
// Of those the findings that speak against an installation: without what is said of a mesh that is there.
[[nodiscard]] Findings check_before_install(const Context& context);

}  // namespace warren::tools
