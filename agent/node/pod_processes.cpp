// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_processes.h"

#include "agent/node/process_start.h"
#include "base/small_file.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace warren::node {

namespace {

constexpr size_t kMaxProcFile = 64 * 1024;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// A uid at the beginning of the text: 8-4-4-4-12 with dashes or underscores (systemd's escape), or the 32 digits of a static pod.
std::string uid_at(std::string_view text) {
    if (text.size() >= 36) {
        std::string uid(text.substr(0, 36));
        bool fine = true;
        for (size_t i = 0; i < uid.size(); ++i) {
            const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            if (dash && uid[i] == '_') uid[i] = '-';
            fine = fine && (dash ? uid[i] == '-' : is_hex(uid[i]));
        }
        if (fine && (text.size() == 36 || !is_hex(text[36]))) return uid;
    }
    if (text.size() < 32 || !std::all_of(text.begin(), text.begin() + 32, is_hex)) return {};
    return text.size() == 32 || !is_hex(text[32]) ? std::string(text.substr(0, 32)) : std::string();
}

}  // namespace

std::string pod_uid_of_cgroup(std::string_view text) {
    std::string found;
    for (size_t at = text.find("pod"); at != std::string_view::npos; at = text.find("pod", at + 1)) {
        // Of a path element, not inside one: "/podUID", "kubepods-besteffort-podUID.slice".
        if (at == 0 || (text[at - 1] != '/' && text[at - 1] != '-')) continue;
        std::string_view rest = text.substr(at + 3);
        if (!rest.empty() && (rest.front() == '-' || rest.front() == '_')) rest.remove_prefix(1);
        if (std::string uid = uid_at(rest); !uid.empty()) found = std::move(uid);
    }
    return found;
}

base::Result<std::map<std::string, std::shared_ptr<const base::Netns>>> find_pod_namespaces(const std::string& proc,
                                                                                            const base::Netns& node,
                                                                                            const std::set<std::string>& wanted) {
    struct Found {
        uint64_t start = 0;
        std::shared_ptr<const base::Netns> netns;
    };
    std::map<std::string, Found> best;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(proc.c_str()), ::closedir);
    if (!dir) return base::os_error("opendir", proc);
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string_view name = entry->d_name;
        if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
        const std::string process = proc + "/" + std::string(name);
        const auto cgroup = base::read_small_file(process + "/cgroup", kMaxProcFile);
        if (!cgroup) continue;  // it has ended
        const std::string uid = pod_uid_of_cgroup(*cgroup);
        if (!wanted.contains(uid)) continue;
        struct stat at{};
        if (::stat((process + "/ns/net").c_str(), &at) != 0 || (at.st_dev == node.device() && at.st_ino == node.inode())) continue;
        const auto start = process_start(process);
        if (!start) continue;
        const auto known = best.find(uid);
        if (known != best.end() && known->second.start <= *start) continue;
        auto netns = base::Netns::open(process + "/ns/net");
        // The number may be another process's by now: what was opened counts if this one is the one that was looked at.
        if (!netns || *netns == node || process_start(process) != start) continue;
        best[uid] = {*start, std::make_shared<const base::Netns>(*std::move(netns))};
    }
    std::map<std::string, std::shared_ptr<const base::Netns>> out;
    for (auto& [uid, found] : best) out.emplace(uid, std::move(found.netns));
    return out;
}

}  // namespace warren::node
