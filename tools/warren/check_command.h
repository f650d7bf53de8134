// SPDX-License-Identifier: Apache-2.0
// All findings about this node: of the machine, and of the daemons that answer. Blocking; for `check` and `bug-report`.
#pragma once

#include "tools/warren/findings.h"

namespace warren::tools {

[[nodiscard]] Findings check_node(const Context& context);

}  // namespace warren::tools
