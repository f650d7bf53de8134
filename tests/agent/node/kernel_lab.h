// SPDX-License-Identifier: Apache-2.0
// A small node of a test's own inside the real kernel: a bpf file system, a cgroup that plays the root of the tree, an instance name, and
// namespaces and processes in them. All of it goes with the test; nothing of the machine's is attached to.
#pragma once

#include "agent/node/attachments.h"
#include "agent/node/enrolment_store.h"
#include "agent/node/kernel_object.h"
#include "agent/node/maps.h"
#include "agent/node/pins.h"
#include "base/netns.h"
#include "tests/catch.h"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::tests {

template <class T>
T must(base::Result<T> result) {
    INFO((result ? "" : result.error().message()));
    REQUIRE(result);
    return std::move(*result);
}
inline void must(const base::Result<void>& result) {
    INFO((result ? "" : result.error().message()));
    REQUIRE(result);
}

// A process that does nothing, in the given cgroup, in a network namespace of its own if asked.
class IdleProcess {
  public:
    struct Options {
        std::string cgroup = {};
        bool own_netns = false;
        std::string program = {};  // an executable to run instead, which waits on its standard input
    };
    explicit IdleProcess(const Options& options);
    ~IdleProcess() { end(); }
    IdleProcess(const IdleProcess&) = delete;
    IdleProcess& operator=(const IdleProcess&) = delete;
    void end();
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    pid_t pid_ = -1;
    base::Fd hold_;  // closing it ends the process
};

// A network namespace without a name, with loopback up.
std::shared_ptr<const base::Netns> make_netns();
// ip -n, for a namespace without a name: "addr add 10.0.0.1/32 dev lo".
void ip_in(const base::Netns& netns, const std::string& arguments);

class KernelLab {
  public:
    KernelLab();
    ~KernelLab();
    KernelLab(const KernelLab&) = delete;
    KernelLab& operator=(const KernelLab&) = delete;

    [[nodiscard]] const std::string& bpffs() const { return bpffs_; }
    [[nodiscard]] const std::string& cgroup_root() const { return cgroup_; }
    [[nodiscard]] std::string make_cgroup(const std::string& name);  // below the root
    [[nodiscard]] const std::string& directory() const { return directory_; }
    [[nodiscard]] node::Pins pins() const;

  private:
    std::string directory_, bpffs_, cgroup_;
    std::vector<std::string> cgroups_;
};

// One life of an agent's kernel half: loads, adopts, attaches. Its end leaves everything pinned.
struct AgentLife {
    explicit AgentLife(const KernelLab& lab, const node::KernelObjectSettings& settings = {});
    node::Pins pins;
    std::unique_ptr<node::KernelObject> object;
    node::Maps maps;
    std::unique_ptr<node::Attachments> attachments;
};

[[nodiscard]] bool wait_for(const std::function<bool()>& condition, std::chrono::milliseconds deadline = std::chrono::seconds(5));
[[nodiscard]] size_t open_descriptors();

}  // namespace warren::tests
