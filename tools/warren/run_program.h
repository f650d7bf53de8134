// SPDX-License-Identifier: Apache-2.0
// Output of another program (iptables-save, journalctl), bounded in time and size; nothing goes to it. Blocking, any thread.
#pragma once

#include "base/result.h"

#include <chrono>
#include <string>
#include <vector>

namespace warren::tools {

// Standard output, its last line ended, cut at max_bytes; of standard error an error has the first line. NotFound when there is no such program, Timeout when it was killed for it,
// Unavailable when it ended with a code other than 0.
[[nodiscard]] base::Result<std::string> run_program(const std::vector<std::string>& command, std::chrono::milliseconds deadline,
                                                    size_t max_bytes);

}  // namespace warren::tools
