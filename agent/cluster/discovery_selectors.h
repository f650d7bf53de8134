// SPDX-License-Identifier: Apache-2.0
// Which namespaces belong to the mesh, as MeshConfig writes it (discoverySelectors; Kubernetes contract 2.1): a list of label selectors,
// any of which may match. Pure; any thread.
#pragma once

#include "agent/cluster/labels.h"
#include "base/result.h"

#include <string_view>
#include <vector>

namespace warren::cluster {

// text: YAML or JSON. Empty text or an empty list: every namespace. An error names line, field and fix: a selector that is read as less
// than it says would take in a namespace that was to be left out.
[[nodiscard]] base::Result<std::vector<LabelSelector>> read_discovery_selectors(std::string_view text);

}  // namespace warren::cluster
