// SPDX-License-Identifier: Apache-2.0
// When a process began, in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)). Tells two processes of one number apart, and which
// of two is the older. Blocking, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace warren::node {

// folder: "/proc/PID" of whichever proc is to be asked. None: it has ended, or is not to be seen from here.
[[nodiscard]] std::optional<uint64_t> process_start(const std::string& folder);

}  // namespace warren::node
