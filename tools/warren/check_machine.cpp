// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/check_host.h"

#include "base/fd.h"
#include "tools/warren/mesh_file.h"
#include "tools/warren/run_program.h"

#include <bpf/bpf.h>

#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace warren::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPrograms = 100'000;

std::string text_of_file(const std::string& path) {
    auto text = read_text_file(path);
    return text ? *std::move(text) : "";
}

// By the links of /proc/PID/fd; only what this user may see.
std::map<uint64_t, std::string> programs_by_socket(const std::map<uint16_t, uint64_t>& wanted) {
    std::map<uint64_t, std::string> out;
    std::error_code failed;
    for (auto process = fs::directory_iterator("/proc", failed); !failed && process != fs::directory_iterator();
         process.increment(failed)) {
        const std::string pid = process->path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        std::error_code hidden;
        for (auto fd = fs::directory_iterator(process->path() / "fd", hidden); !hidden && fd != fs::directory_iterator();
             fd.increment(hidden)) {
            std::error_code gone;
            const std::string target = fs::read_symlink(fd->path(), gone);
            if (gone || !target.starts_with("socket:[")) continue;
            uint64_t inode = 0;
            std::from_chars(target.data() + 8, target.data() + target.size(), inode);
            if (std::none_of(wanted.begin(), wanted.end(), [&](const auto& w) { return w.second == inode; })) continue;
            std::string name = text_of_file(process->path() / "comm");
            while (name.ends_with('\n')) name.pop_back();
            out[inode] = name;
        }
    }
    return out;
}

std::vector<PortOwner> taken_ports() {
    std::map<uint16_t, uint64_t> listening = listeners(text_of_file("/proc/thread-self/net/tcp"));
    listening.merge(listeners(text_of_file("/proc/thread-self/net/tcp6")));
    const auto programs = programs_by_socket(listening);
    std::vector<PortOwner> out;
    for (const auto& [port, inode] : listening) {
        const auto found = programs.find(inode);
        out.push_back({port, found == programs.end() ? "" : found->second});
    }
    return out;
}

// Needs root; without it the set is empty and a note says so.
bool loaded_programs(std::set<std::string>& names) {
    uint32_t id = 0;
    for (size_t n = 0; n < kMaxPrograms; ++n) {
        if (bpf_prog_get_next_id(id, &id) != 0) return errno == ENOENT;
        const base::Fd fd(bpf_prog_get_fd_by_id(id));
        if (!fd) continue;  // gone meanwhile
        bpf_prog_info info{};
        uint32_t size = sizeof info;
        if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0)
            names.insert(std::string(info.name, ::strnlen(info.name, sizeof info.name)));
    }
    return true;
}

void check_clock(Findings& to) {
    timex t{};
    const int state = ::adjtimex(&t);
    if (state < 0) return;
    if (state == TIME_ERROR || (t.status & STA_UNSYNC) != 0)
        to.push_back({Severity::Warning, "clock", "the kernel's clock is not synchronised; certificates of an hour depend on it",
                      "run an NTP client (systemd-timesyncd, chrony)"});
    else
        to.push_back({Severity::Ok, "clock", "synchronised, within " + std::to_string(t.maxerror / 1000) + " ms", ""});
}

}  // namespace

void check_this_host(bool probe, Findings& to) {
    utsname name{};
    if (::uname(&name) == 0) check_kernel_release(name.release, to);
    check_mounts(text_of_file("/proc/self/mountinfo"), to);
    std::error_code failed;
    if (fs::exists("/sys/kernel/btf/vmlinux", failed))
        to.push_back({Severity::Ok, "kernel", "describes its types (BTF)", ""});
    else
        to.push_back({Severity::Error, "kernel", "has no /sys/kernel/btf/vmlinux, so the programs cannot be fitted to it",
                      "boot a kernel built with CONFIG_DEBUG_INFO_BTF"});
    if (::geteuid() != 0)
        to.push_back(
            {Severity::Note, "user", "not root: other programs, packet rules and features cannot be seen", "run warren check as root"});
    if (probe) check_features(to);
    check_ports(taken_ports(), to);
    check_clock(to);
    std::string all_rules;
    bool looked = false;
    for (const char* program : {"iptables-save", "ip6tables-save"}) {
        const auto rules = run_program({program}, std::chrono::seconds(5), size_t{16} << 20);
        if (rules) all_rules += *rules;
        looked = looked || rules;
    }
    if (looked) check_packet_rules(all_rules, to);
    std::set<std::string> names;
    if (loaded_programs(names)) check_foreign_programs(names, to);
}

}  // namespace warren::tools
