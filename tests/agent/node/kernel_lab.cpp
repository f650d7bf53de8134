// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/node/kernel_lab.h"

#include "agent/node/cgroups.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace warren::tests {

IdleProcess::IdleProcess(const Options& options) {
    auto hold = must(base::make_pipe());
    auto ready = must(base::make_pipe());
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
        ::close(hold.second.release());
        if (!options.cgroup.empty()) {
            const base::Fd procs(::open((options.cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
            if (::write(procs.get(), "0", 1) != 1) ::_exit(2);
        }
        if (options.own_netns && ::unshare(CLONE_NEWNET) != 0) ::_exit(3);
        if (!options.program.empty()) {
            ::dup2(hold.first.get(), 0);
            // The other end is close-on-exec: its end of file is the word that the program runs.
            ::execl(options.program.c_str(), options.program.c_str(), static_cast<char*>(nullptr));
            ::_exit(4);
        }
        (void)!::write(ready.second.get(), "r", 1);
        char byte = 0;
        (void)!::read(hold.first.get(), &byte, 1);
        ::_exit(0);
    }
    ready.second.reset();
    char byte = 0;
    const ssize_t n = ::read(ready.first.get(), &byte, 1);
    REQUIRE(n == (options.program.empty() ? 1 : 0));
    hold_ = std::move(hold.second);
}

void IdleProcess::end() {
    hold_.reset();
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
}

std::shared_ptr<const base::Netns> make_netns() {
    std::shared_ptr<const base::Netns> made;
    std::thread([&made] {
        if (::unshare(CLONE_NEWNET) != 0) return;
        if (auto netns = base::Netns::current()) made = std::make_shared<const base::Netns>(std::move(*netns));
    }).join();
    REQUIRE(made);
    ip_in(*made, "link set lo up");
    return made;
}

void ip_in(const base::Netns& netns, const std::string& arguments) {
    const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(netns.fd());
    const std::string command = "nsenter --net=" + path + " ip " + arguments;
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0);
}

KernelLab::KernelLab() {
    require_root();
    char name[] = "/tmp/warren-lab-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory_ = name;
    bpffs_ = directory_ + "/bpf";
    must(node::ensure_bpffs(bpffs_));
    const std::string root = must(node::find_cgroup2());
    cgroup_ = root + "/" + std::filesystem::path(directory_).filename().string();
    REQUIRE(::mkdir(cgroup_.c_str(), 0755) == 0);
}

KernelLab::~KernelLab() {
    CHECK(node::Pins::uninstall(bpffs_, "lab"));
    CHECK(::umount2(bpffs_.c_str(), MNT_DETACH) == 0);
    for (auto cgroup = cgroups_.rbegin(); cgroup != cgroups_.rend(); ++cgroup) ::rmdir(cgroup->c_str());
    CHECK(::rmdir(cgroup_.c_str()) == 0);
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

std::string KernelLab::make_cgroup(const std::string& name) {
    const std::string path = cgroup_ + "/" + name;
    REQUIRE(::mkdir(path.c_str(), 0755) == 0);
    cgroups_.push_back(path);
    return path;
}

node::Pins KernelLab::pins() const { return must(node::Pins::open(bpffs_, "lab")); }

AgentLife::AgentLife(const KernelLab& lab, const node::KernelObjectSettings& settings)
    : pins(lab.pins()),
      object(must(node::KernelObject::load(node::embedded_object(), settings, pins))),
      maps(must(node::Maps::of(*object))),
      attachments(must(node::Attachments::create(*object, pins, lab.cgroup_root()))) {
    must(attachments->start());
}

bool wait_for(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        ::poll(nullptr, 0, 2);
    }
    return true;
}

size_t open_descriptors() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

}  // namespace warren::tests
