// SPDX-License-Identifier: Apache-2.0
#include "agent/node/tunnel_cgroup.h"

#include "base/log.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("tunnel");

// Empty: it has ended, or is the kernel's.
std::string executable_of(pid_t pid) {
    std::array<char, 4096> name{};
    const ssize_t n = ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), name.data(), name.size());
    return n > 0 ? std::string(name.data(), static_cast<size_t>(n)) : std::string();
}

}  // namespace

base::Result<pid_t> peer_pid(int socket_fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return base::os_error("getsockopt SO_PEERCRED");
    if (peer.pid > 0) return peer.pid;
    return base::Error{base::Errc::Unsupported, 0, "tunnel",
                       "its process is outside the agent's process namespace; run the agent with hostPID: true"};
}

base::Result<void> TunnelCgroups::adopt() {
    for (const auto& [id, value] : TRY(maps_.tunnels.rows())) {
        auto cgroup = cgroup_by_id(id, root_);
        if (!cgroup) {
            if (cgroup.error().code != base::Errc::NotFound) return std::move(cgroup).error().with("adopt tunnel");
            attachments_.detach_tunnel(id);
            TRY(maps_.tunnels.erase(id));
            continue;
        }
        TRY(attachments_.attach_tunnel(id, cgroup->fd.get()));
        entries_.insert_or_assign(id, Entry{.cgroup = std::move(*cgroup), .connections = 0, .program = {}});
    }
    for (const uint64_t id : attachments_.tunnels())
        if (!entries_.contains(id)) attachments_.detach_tunnel(id);
    tick();
    return {};
}

base::Result<uint64_t> TunnelCgroups::connected(pid_t peer) {
    Cgroup cgroup = TRY(cgroup_of(peer, root_));
    if (cgroup.id == TRY(open_cgroup(root_)).id) {
        return base::Error{base::Errc::Denied, 0, "tunnel",
                           "process " + std::to_string(peer) + " (" + executable_of(peer) +
                               ") is in the root cgroup, and exempting that would exempt every process of the node; start the tunnel in a "
                               "cgroup of its own (a container, a systemd unit, or: mkdir " +
                               root_ + "/warren-ztunnel && echo PID > " + root_ + "/warren-ztunnel/cgroup.procs)"};
    }
    const uint64_t id = cgroup.id;
    const auto known = entries_.find(id);
    if (known == entries_.end()) {
        // The hooks first: a socket that is exempt but not served would bind foreign addresses in vain.
        TRY(attachments_.attach_tunnel(id, cgroup.fd.get()));
        if (auto written = maps_.tunnels.update(id, 1); !written) {
            attachments_.detach_tunnel(id);
            return std::move(written).error();
        }
        WARREN_LOG(kArea, base::log::Level::Info, "tunnel connected", {"pid", peer}, {"cgroup", cgroup.path});
    }
    Entry& entry = known == entries_.end() ? entries_[id] : known->second;
    if (known == entries_.end()) entry.cgroup = std::move(cgroup);
    ++entry.connections;
    entry.program = executable_of(peer);
    return id;
}

void TunnelCgroups::disconnected(uint64_t cgroup_id) {
    const auto found = entries_.find(cgroup_id);
    if (found == entries_.end() || found->second.connections == 0) return;
    --found->second.connections;
    tick();
}

void TunnelCgroups::tick() {
    std::vector<uint64_t> ended;
    for (const auto& [id, entry] : entries_)
        if (entry.connections == 0 && members_of(entry.cgroup).empty()) ended.push_back(id);
    for (const uint64_t id : ended) let_go(id);
}

void TunnelCgroups::let_go(uint64_t id) {
    WARREN_LOG(kArea, base::log::Level::Info, "cgroup of a tunnel is empty: no longer exempt", {"cgroup", entries_[id].cgroup.path});
    if (const auto erased = maps_.tunnels.erase(id); !erased)
        WARREN_LOG(kArea, base::log::Level::Error, "cgroup stays exempt", {"error", erased.error().message()});
    attachments_.detach_tunnel(id);
    entries_.erase(id);
}

std::vector<TunnelCgroups::Report> TunnelCgroups::report() const {
    std::vector<Report> out;
    for (const auto& [id, entry] : entries_) {
        Report report{.id = id, .path = entry.cgroup.path, .connections = entry.connections, .processes = members_of(entry.cgroup)};
        const std::string& tunnel = entry.program;
        report.shared = !entry.program.empty() && std::any_of(report.processes.begin(), report.processes.end(), [&tunnel](pid_t pid) {
            const std::string program = executable_of(pid);
            return !program.empty() && program != tunnel;
        });
        out.push_back(std::move(report));
    }
    return out;
}

}  // namespace warren::node
