// SPDX-License-Identifier: Apache-2.0
// Durations as people write them on a command line: "500ms", "90s", "5m", "2h", "1d". Pure.
#pragma once

#include "base/result.h"

#include <chrono>
#include <string>

namespace warren::tools {

[[nodiscard]] base::Result<std::chrono::milliseconds> parse_duration(const std::string& text);

}  // namespace warren::tools
