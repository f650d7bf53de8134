// SPDX-License-Identifier: Apache-2.0
// JSON values as YAML 1.2 block style, for `-o yaml`. What a YAML 1.1 reader would take for something else than text ("yes", "1e3") is
// quoted. Pure; any thread.
#pragma once

#include "tools/warren/json.h"

namespace warren::tools {

[[nodiscard]] std::string to_yaml(const Json& j);

}  // namespace warren::tools
