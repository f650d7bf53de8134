// SPDX-License-Identifier: Apache-2.0
// Pre-flight findings that need no daemon: functions of what the kernel's files and other programs say, so that tests can say it too. Pure,
// but for the two at the end.
#pragma once

#include "tools/warren/findings.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace warren::tools {

// release: uname -r. The floor is 5.15: older kernels lack what redirection needs even where distributions backport.
void check_kernel_release(const std::string& release, Findings& to);
// mountinfo: /proc/self/mountinfo.
void check_mounts(const std::string& mountinfo, Findings& to);
// Text of iptables-save: rules of a stock node agent.
void check_packet_rules(const std::string& rules, Findings& to);
// Names of loaded BPF programs, as the kernel keeps them (15 characters).
void check_foreign_programs(const std::set<std::string>& names, Findings& to);

// TCP ports that somebody listens on, with the socket's inode. text: /proc/net/tcp or tcp6.
[[nodiscard]] std::map<uint16_t, uint64_t> listeners(const std::string& text);
struct PortOwner {
    uint16_t port = 0;
    std::string program;  // "" when it cannot be told
};
// Every port the daemons of a node need, against who has it.
void check_ports(const std::vector<PortOwner>& taken, Findings& to);

// The two: of this machine, in the namespace the thread is in. probe: the kernel's features too.
void check_this_host(bool probe, Findings& to);
// Features of the kernel, by trying.
void check_features(Findings& to);

}  // namespace warren::tools
