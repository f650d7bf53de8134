// SPDX-License-Identifier: Apache-2.0
// What a security engineer looks for in the policies of a mesh: refused and missing ones, those that allow everybody, those that apply to
// nothing, workloads without any, and what policies in dry run would have decided otherwise. Pure.
#pragma once

#include "tools/warren/findings.h"
#include "tools/warren/flow_source.h"

#include <vector>

namespace warren::tools {

// flows null: none could be had, and what depends on them is left out.
[[nodiscard]] Findings audit_policies(const Json& dump, const std::vector<Flow>* flows);

}  // namespace warren::tools
