// SPDX-License-Identifier: Apache-2.0
// What a daemon gives up once it is configured, so that a fault in it is worth little: capabilities but those it needs, new privileges,
// core dumps and foreign eyes on its memory (keys), and every system call that a network daemon has no use for. Called by main before any
// other thread exists; all later threads inherit it.
#pragma once

#include "base/result.h"

#include <span>
#include <string_view>

namespace warren::base {

// The soft limit of descriptors becomes the hard one (data-plane contract 11.1). Returns the limit in force.
[[nodiscard]] Result<unsigned long> raise_descriptor_limit();

// Not dumpable, not traceable: no core file, no /proc/PID/mem for others.
[[nodiscard]] Result<void> hide_memory();

// Keeps these (CAP_X of linux/capability.h) in the permitted and effective sets, drops the rest and the bounding set. An error names a
// capability that is needed and missing, and `who` needs it.
[[nodiscard]] Result<void> keep_capabilities(std::span<const int> needed, std::string_view who);

// A list of allowed system calls, and those in `more`; any other answers EPERM, and no program can gain privileges by exec. No program can
// be executed, no process traced, nothing mounted or loaded.
[[nodiscard]] Result<void> filter_system_calls(std::span<const char* const> more = {});

}  // namespace warren::base
