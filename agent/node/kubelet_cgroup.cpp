// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kubelet_cgroup.h"

#include "base/log.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <memory>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("kubelet");

// The file's name, as the kernel knows it: not what a process calls itself (comm), which a pod may choose.
std::string program_of(const std::string& process) {
    std::array<char, 4096> name{};
    const ssize_t n = ::readlink((process + "/exe").c_str(), name.data(), name.size());
    if (n <= 0) return "";
    std::string path(name.data(), static_cast<size_t>(n));
    if (path.ends_with(" (deleted)")) path.resize(path.size() - 10);  // upgraded under it
    return path.substr(path.rfind('/') + 1);
}

bool of_a_pod(const std::string& cgroup) { return cgroup.find("kubepods") != std::string::npos; }

std::vector<pid_t> processes_in(const std::string& proc) {
    std::vector<pid_t> out;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(proc.c_str()), ::closedir);
    if (!dir) return out;
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string_view name = entry->d_name;
        pid_t pid = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (error == std::errc() && end == name.data() + name.size()) out.push_back(pid);
    }
    return out;
}

std::vector<std::string> others_in(const Cgroup& cgroup, const std::string& proc, const std::string& program) {
    std::set<std::string> names;
    for (const pid_t pid : members_of(cgroup)) {
        const std::string name = program_of(proc + "/" + std::to_string(pid));
        if (!name.empty() && name != program) names.insert(name);
    }
    return {names.begin(), names.end()};
}

}  // namespace

base::Result<std::vector<KubeletReport>> KubeletCgroup::find() const {
    std::vector<KubeletReport> out;
    const uint64_t root_id = TRY(open_cgroup(root_)).id;
    const auto add = [&](const std::string& program, const Cgroup& cgroup) -> base::Result<void> {
        if (cgroup.id == root_id) {
            return base::Error{base::Errc::Denied, 0, "kubelet",
                               program +
                                   " is in the root cgroup: every process of the node would count as a probe; start it in a cgroup of "
                                   "its own (systemd does), or name one with kubelet_cgroup"};
        }
        const bool known = std::any_of(out.begin(), out.end(), [&](const KubeletReport& r) { return r.id == cgroup.id; });
        if (!known)
            out.push_back(
                {.program = program, .cgroup = cgroup.path, .id = cgroup.id, .shared_with = others_in(cgroup, settings_.proc, program)});
        return {};
    };
    if (!settings_.cgroup.empty()) {
        const std::string path = settings_.cgroup.starts_with(root_) ? settings_.cgroup : root_ + "/" + settings_.cgroup;
        TRY(add("configured", TRY(open_cgroup(path))));
        return out;
    }
    for (const pid_t pid : processes_in(settings_.proc)) {
        const std::string process = settings_.proc + "/" + std::to_string(pid);
        const std::string program = program_of(process);
        if (std::find(settings_.programs.begin(), settings_.programs.end(), program) == settings_.programs.end()) continue;
        const auto netns = base::Netns::open(process + "/ns/net");
        if (!netns || !node_.owns(*netns)) continue;
        auto cgroup = cgroup_of(pid, root_);
        if (!cgroup || of_a_pod(cgroup->path)) continue;
        TRY(add(program, *cgroup));
    }
    if (!out.empty()) return out;
    return base::Error{base::Errc::NotFound, 0, "kubelet",
                       "no process of this node runs kubelet, kubelite or k3s; probes are judged like any plaintext. Name its cgroup with "
                       "kubelet_cgroup if it is called otherwise"};
}

base::Result<void> KubeletCgroup::refresh() {
    auto found = find();
    const std::vector<KubeletReport> now = found ? std::move(*found) : std::vector<KubeletReport>();
    for (const KubeletReport& report : now) TRY(maps_.kubelets.update(report.id, 1));
    for (const auto& row : TRY(maps_.kubelets.rows())) {
        const bool stays = std::any_of(now.begin(), now.end(), [&row](const KubeletReport& r) { return r.id == row.first; });
        if (!stays) TRY(maps_.kubelets.erase(row.first));
    }
    for (const KubeletReport& report : now) {
        const bool known = std::any_of(reports_.begin(), reports_.end(), [&](const KubeletReport& r) { return r.id == report.id; });
        if (known) continue;
        WARREN_LOG(kArea, base::log::Level::Info, "probes come from this cgroup", {"program", report.program}, {"cgroup", report.cgroup});
        if (!report.shared_with.empty())
            WARREN_LOG(kArea, base::log::Level::Warn,
                       "other programs share the kubelet's cgroup: they may reach enrolled pods as probes do", {"cgroup", report.cgroup},
                       {"others", report.shared_with.size()}, {"first", report.shared_with.front()});
    }
    reports_ = now;
    if (!found) return std::move(found).error();
    return {};
}

}  // namespace warren::node
