// SPDX-License-Identifier: Apache-2.0
// Whose programs hang at a hook of a cgroup; part of attachments.cpp. Reads only. Any thread.
#pragma once

#include "agent/node/attachments.h"

#include <cstdint>
#include <string>
#include <vector>

namespace warren::node {

// "cgroup_inet4_connect", as bpftool calls it.
std::string hook_name(uint32_t attach_type);
// In the order in which they run for a process of that cgroup. Empty when the kernel does not say.
std::vector<HookProgram> programs_at(int cgroup_fd, uint32_t attach_type);

}  // namespace warren::node
