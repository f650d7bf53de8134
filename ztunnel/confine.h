// SPDX-License-Identifier: Apache-2.0
// What the process gives up once it is up, so that a fault in it is worth little: capabilities but those the tunnel needs, new
// privileges, core dumps and foreign eyes on its memory (keys), and every system call that a proxy has no use for. Called by main before
// any other thread exists; all later threads inherit it.
#pragma once

#include "base/result.h"

#include <string>

namespace warren::ztunnel {

// The soft limit of descriptors becomes the hard one (contract 11.1). Returns the limit in force.
[[nodiscard]] base::Result<unsigned long> raise_descriptor_limit();

// Not dumpable, not traceable: no core file, no /proc/PID/mem for others. A debugger needs WARREN_DUMPABLE=true at start.
[[nodiscard]] base::Result<void> hide_memory();

// Keeps NET_ADMIN (mark, transparent), SYS_ADMIN (setns) and NET_RAW in all sets, drops the rest and the bounding set (contract 8.3).
// An error names a capability that is needed and missing.
[[nodiscard]] base::Result<void> keep_needed_capabilities();

// A list of allowed system calls; any other answers EPERM. No program can be executed, no process traced, nothing mounted or loaded.
[[nodiscard]] base::Result<void> filter_system_calls();

}  // namespace warren::ztunnel
