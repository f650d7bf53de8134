// SPDX-License-Identifier: Apache-2.0
// The cgroup2 tree as the agent needs it: where it is mounted (pure and hybrid hosts), a process's cgroup, its id (the inode, which is what
// bpf_get_current_cgroup_id answers), who else is in it. Reads /proc and the tree; keeps nothing. Any thread. The agent must see the
// host's processes (hostPID) and the host's tree.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace warren::node {

// The mount point nearest to the root of the tree, from /proc/self/mountinfo; NotFound with the fix.
base::Result<std::string> find_cgroup2(const std::string& mountinfo = "/proc/self/mountinfo");

struct Cgroup {
    std::string path;  // directory
    uint64_t id = 0;
    base::Fd fd = {};  // of the directory
};

base::Result<Cgroup> open_cgroup(const std::string& path);
// root: the mount point. A process of another cgroup namespace is found by looking for it in the tree.
base::Result<Cgroup> cgroup_of(pid_t pid, const std::string& root);
// NotFound: it was removed. Needs CAP_DAC_READ_SEARCH.
base::Result<Cgroup> cgroup_by_id(uint64_t id, const std::string& root);
// Processes directly in it; a removed cgroup has none.
std::vector<pid_t> members_of(const Cgroup& cgroup);

}  // namespace warren::node
