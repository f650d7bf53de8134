// SPDX-License-Identifier: Apache-2.0
// Attachments: which of our programs hang where, kept that way. Three places: the root of the cgroup2 tree (every process of the node), the
// cgroups of tunnels, the network namespaces of pods. Each is one pinned bpf_link: it outlives the agent, and a new agent replaces the
// program inside it atomically (BPF_LINK_UPDATE), so no connection finds the hook empty (traps 17, 19). Used by one thread.
//
// Other products use the same hooks (multi-program links): they are listed in order, never touched. check() is called every five seconds at
// most: what somebody detached or replaced is put back and counted (trap 26).
#pragma once

#include "agent/node/kernel_object.h"
#include "agent/node/pins.h"
#include "base/fd.h"
#include "base/netns.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

enum class Place : uint8_t { Node, Tunnel, Pod };

// The programs for Place::Tunnel; every other cgroup program belongs to Place::Node, every sk_lookup program to Place::Pod.
[[nodiscard]] std::optional<Place> place_of(const LoadedProgram& program);

struct HookProgram {
    uint32_t id = 0;
    std::string name;
    bool ours = false;
};

// One hook of the node's cgroup root, for status: everybody's programs in the order in which they run.
struct HookReport {
    std::string hook;  // "connect4"
    std::string program;
    uint32_t program_id = 0;
    bool attached = false;
    std::vector<HookProgram> order;
};

struct CheckReport {
    size_t checked = 0;
    size_t repaired = 0;                   // in this check
    size_t gone = 0;                       // their cgroup or namespace has ended; let go
    std::vector<std::string> failed = {};  // what could not be put back, and why
};

struct AttachmentTotals {
    size_t node = 0, tunnel = 0, pod = 0;  // links now
    uint64_t repaired = 0;                 // since start
    uint64_t replaced = 0;                 // adopted links whose program was replaced at start
};

class Attachments {
  public:
    // Borrows object and pins, which outlive it. cgroup2_root: the mount point.
    static base::Result<std::unique_ptr<Attachments>> create(const KernelObject& object, const Pins& pins, const std::string& cgroup2_root);
    Attachments(const Attachments&) = delete;
    Attachments& operator=(const Attachments&) = delete;

    // Start: puts this object's programs into every pinned link, whatever its place; links whose program this object does not have, or
    // whose target has ended, are removed. Then attaches what is missing at the node, connect hooks last: nobody is redirected before
    // the hooks are there that tell the tunnel where to. When something of the node's place cannot be attached, what this call attached
    // is detached again.
    base::Result<void> start();

    base::Result<void> attach_tunnel(uint64_t cgroup_id, int cgroup_fd);
    void detach_tunnel(uint64_t cgroup_id);
    [[nodiscard]] std::vector<uint64_t> tunnels() const { return targets(Place::Tunnel); }

    // cookie names the namespace; there already: nothing to do.
    base::Result<void> attach_pod(uint64_t cookie, std::shared_ptr<const base::Netns> netns);
    void detach_pod(uint64_t cookie);
    [[nodiscard]] bool pod_attached(uint64_t cookie) const;
    [[nodiscard]] std::vector<uint64_t> pods() const { return targets(Place::Pod); }

    CheckReport check();
    [[nodiscard]] std::vector<HookReport> report() const;
    [[nodiscard]] AttachmentTotals totals() const;

  private:
    struct Entry {
        Place place = Place::Node;
        uint64_t target = 0;  // id of a tunnel's cgroup, cookie of a pod's namespace
        std::string program;
        base::Fd link;
        // To attach anew, at most one of them. What was adopted has none until its owner comes back, and is only watched.
        base::Fd cgroup = {};
        std::shared_ptr<const base::Netns> netns = {};
        [[nodiscard]] int where() const { return netns ? netns->fd() : cgroup.get(); }
    };
    struct State {
        bool alive = false;  // attached to something
        uint32_t program_id = 0;
    };

    Attachments(const KernelObject& object, const Pins& pins, base::Fd root);
    static std::string pin_name(Place place, uint64_t target, std::string_view program);
    static base::Result<State> state_of(int link_fd);
    [[nodiscard]] std::vector<const LoadedProgram*> programs_for(Place place) const;
    [[nodiscard]] std::vector<uint64_t> targets(Place place) const;
    void adopt(const std::string& pin);
    base::Result<void> attach(Entry entry, const LoadedProgram& program);
    static base::Result<base::Fd> create_link(const Entry& entry, const LoadedProgram& program);
    void drop(const std::string& pin);
    void drop_all(Place place, uint64_t target);
    base::Result<bool> repair(const std::string& pin, Entry& entry);

    const KernelObject& object_;
    const Pins& pins_;
    base::Fd root_;
    uint64_t root_id_ = 0;
    std::map<std::string, Entry> entries_;  // by name of the pin
    uint64_t repaired_ = 0, replaced_ = 0;
};

}  // namespace warren::node
