// SPDX-License-Identifier: Apache-2.0
// Completion scripts made of the declared options. Pure.
#pragma once

#include "tools/warren/option_tree.h"

#include <string>

namespace warren::tools {

[[nodiscard]] std::string bash_completion(const CommandEntry& root);
[[nodiscard]] std::string zsh_completion(const CommandEntry& root);
[[nodiscard]] std::string fish_completion(const CommandEntry& root);

}  // namespace warren::tools
