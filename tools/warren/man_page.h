// SPDX-License-Identifier: Apache-2.0
// warren(1) made of the declared options; docs/warren.1 is its output, and a test holds them equal. Pure.
#pragma once

#include "tools/warren/option_tree.h"

#include <string>

namespace warren::tools {

[[nodiscard]] std::string man_page(const CommandEntry& root, const std::string& version);

}  // namespace warren::tools
