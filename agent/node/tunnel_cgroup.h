// SPDX-License-Identifier: Apache-2.0
// TunnelCgroups: processes that are never captured are those in a tunnel's cgroup (wr_tunnels), and only there do the hooks hang that serve
// tunnels (Place::Tunnel). A tunnel is whoever connected to the agent's ZDS socket; the kernel names its process (SO_PEERCRED). Never by
// mark: a pod with CAP_NET_RAW may set any. Several tunnels may overlap, each in a cgroup of its own or not. One thread, that of
// Attachments.
#pragma once

#include "agent/node/attachments.h"
#include "agent/node/cgroups.h"
#include "agent/node/maps.h"
#include "base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace warren::node {

class TunnelCgroups {
  public:
    TunnelCgroups(std::string cgroup2_root, const Maps& maps, Attachments& attachments)
        : root_(std::move(cgroup2_root)), maps_(maps), attachments_(attachments) {}

    // At start: cgroups of tunnels that an earlier agent served stay exempt until they are empty.
    base::Result<void> adopt();
    // A tunnel connected. Refused: the root cgroup, which would exempt every process of the node. Returns the cgroup's id; counted per
    // connection.
    base::Result<uint64_t> connected(pid_t peer);
    // The connection has gone. The cgroup stays while a process is in it: a draining tunnel still dials.
    void disconnected(uint64_t cgroup_id);
    // Every second or so: lets empty cgroups go.
    void tick();

    struct Report {
        uint64_t id = 0;
        std::string path;
        size_t connections = 0;
        std::vector<pid_t> processes;
        bool shared = false;  // processes of other programs than the tunnel's are in it, and are not captured either
    };
    [[nodiscard]] std::vector<Report> report() const;

  private:
    struct Entry {
        Cgroup cgroup;
        size_t connections = 0;
        std::string program;  // the tunnel's executable; empty when adopted
    };
    void let_go(uint64_t id);

    const std::string root_;
    const Maps& maps_;
    Attachments& attachments_;
    std::map<uint64_t, Entry> entries_;
};

// The peer of a connected Unix socket.
base::Result<pid_t> peer_pid(int socket_fd);

}  // namespace warren::node
