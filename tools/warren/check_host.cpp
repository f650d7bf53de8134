// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/check_host.h"

#include <charconv>
#include <sstream>

namespace warren::tools {
namespace {

struct NodePort {
    uint16_t port;
    const char* what;
    const char* program;
    const char* setting;
};
constexpr NodePort kPorts[] = {
    {15000, "the tunnel's admin", "warren-ztunnel", "ADMIN_PORT"},
    {15020, "the tunnel's metrics", "warren-ztunnel", "STATS_PORT"},
    {15021, "the tunnel's readiness", "warren-ztunnel", "READINESS_PORT"},
    {15030, "the agent's admin", "warren-agent", "admin.address"},
    {15031, "the agent's metrics", "warren-agent", "metrics.address"},
    {15032, "the agent's readiness", "warren-agent", "ready.address"},
};

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream in(line);
    std::vector<std::string> out;
    for (std::string word; in >> word;) out.push_back(word);
    return out;
}

}  // namespace

void check_kernel_release(const std::string& release, Findings& to) {
    unsigned major = 0, minor = 0;
    const char* end = release.data() + release.size();
    const auto first = std::from_chars(release.data(), end, major);
    if (first.ec == std::errc() && first.ptr != end && *first.ptr == '.') std::from_chars(first.ptr + 1, end, minor);
    if (major > 5 || (major == 5 && minor >= 15))
        to.push_back({Severity::Ok, "kernel", "Linux " + release, ""});
    else
        to.push_back({Severity::Error, "kernel", "Linux " + release + " is older than 5.15",
                      "boot a kernel of 5.15 or later; without one, run warren-agent with redirection off beside a stock node agent"});
}

void check_mounts(const std::string& mountinfo, Findings& to) {
    std::string cgroup2, bpffs;
    std::istringstream in(mountinfo);
    for (std::string line; std::getline(in, line);) {
        // "36 25 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw": the type stands behind a lone dash.
        const std::vector<std::string> words = words_of(line);
        for (size_t i = 5; i + 1 < words.size(); ++i) {
            if (words[i] != "-") continue;
            if (words[i + 1] == "cgroup2" && cgroup2.empty()) cgroup2 = words[4];
            if (words[i + 1] == "bpf" && bpffs.empty()) bpffs = words[4];
            break;
        }
    }
    if (cgroup2.empty())
        to.push_back({Severity::Error, "cgroup2", "no cgroup2 file system is mounted, and the hooks attach to its groups",
                      "boot with systemd.unified_cgroup_hierarchy=1, or: mount -t cgroup2 none /sys/fs/cgroup/unified"});
    else
        to.push_back({Severity::Ok, "cgroup2", "mounted at " + cgroup2, ""});
    if (bpffs.empty())
        to.push_back({Severity::Error, "bpffs", "no BPF file system is mounted, so redirection would end with the agent",
                      "mount -t bpf bpf /sys/fs/bpf"});
    else
        to.push_back({Severity::Ok, "bpffs", "mounted at " + bpffs, ""});
}

void check_packet_rules(const std::string& rules, Findings& to) {
    std::set<std::string> chains;
    std::istringstream in(rules);
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(":ISTIO_")) chains.insert(line.substr(1, line.find(' ') - 1));
    if (chains.empty()) {
        to.push_back({Severity::Ok, "conflicts", "no packet rules of a stock node agent here", ""});
        return;
    }
    std::string names;
    for (const std::string& chain : chains) names += (names.empty() ? "" : ", ") + chain;
    to.push_back({Severity::Warning, "conflicts", "packet rules of istio-cni are here: " + names,
                  "one node agent a node: uninstall istio-cni, or run warren-agent with redirection off"});
}

void check_foreign_programs(const std::set<std::string>& names, Findings& to) {
    std::string cilium;
    for (const std::string& name : names)
        if (name.starts_with("cil_sock")) cilium += (cilium.empty() ? "" : ", ") + name;
    if (cilium.empty())
        to.push_back({Severity::Ok, "conflicts", "no socket load balancer of Cilium", ""});
    else
        to.push_back({Severity::Error, "conflicts",
                      "Cilium's socket load balancer rewrites destinations before the mesh sees them: " + cilium,
                      "set socketLB.hostNamespaceOnly=true in Cilium's values"});
}

std::map<uint16_t, uint64_t> listeners(const std::string& text) {
    std::map<uint16_t, uint64_t> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        // "0: 0100007F:3A98 00000000:0000 0A ...": local address, state (0A listens), inode the tenth.
        const std::vector<std::string> words = words_of(line);
        if (words.size() < 10 || words[3] != "0A") continue;
        const size_t colon = words[1].find(':');
        unsigned port = 0;
        uint64_t inode = 0;
        if (colon == std::string::npos) continue;
        const std::string& local = words[1];
        std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
        std::from_chars(words[9].data(), words[9].data() + words[9].size(), inode);
        if (port != 0 && port <= 0xffff) out.emplace(static_cast<uint16_t>(port), inode);
    }
    return out;
}

void check_ports(const std::vector<PortOwner>& taken, Findings& to) {
    for (const NodePort& need : kPorts) {
        const PortOwner* owner = nullptr;
        for (const PortOwner& one : taken)
            if (one.port == need.port) owner = &one;
        const std::string port = "port " + std::to_string(need.port) + " (" + need.what + ")";
        if (owner == nullptr)
            to.push_back({Severity::Ok, "ports", port + " is free", ""});
        else if (owner->program == need.program)
            to.push_back({Severity::Ok, "ports", port + " is " + need.program + "'s", ""});
        else if (owner->program.empty())
            to.push_back({Severity::Note, "ports", port + " is taken, by whom cannot be seen", "run warren check as root"});
        else
            to.push_back({Severity::Error, "ports", port + " is taken by " + owner->program,
                          std::string("end it, or give ") + need.program + " another port: " + need.setting});
    }
}

}  // namespace warren::tools
