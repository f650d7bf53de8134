// SPDX-License-Identifier: Apache-2.0
#include "agent/node/tunnel_link.h"

#include "base/log.h"

#include <utility>

namespace warren::node {
namespace {

const base::log::Area kTunnel("tunnel");

}  // namespace

base::Result<std::unique_ptr<TunnelLink>> TunnelLink::start(base::Loop& loop, ZdsOptions options, TunnelCgroups* cgroups) {
    std::unique_ptr<TunnelLink> link(new TunnelLink(cgroups));
    link->server_ = TRY(ZdsServer::start(loop, std::move(options), *link));
    return link;
}

bool TunnelLink::connected() const { return !cgroup_of_.empty(); }

bool TunnelLink::synced() const {
    const auto tunnels = server_->tunnels();
    return !tunnels.empty() && tunnels.front().synced;
}

void TunnelLink::pod_ready(PodPtr pod, std::shared_ptr<const base::Netns> netns, Done done) {
    waiting_[pod->uid] = std::move(done);
    server_->add({pod->uid, pod->name, pod->namespace_name, pod->service_account, std::move(netns)});
}

void TunnelLink::pod_gone(const std::string& uid) {
    waiting_.erase(uid);
    server_->remove(uid);
}

base::Result<void> TunnelLink::tunnel_connected(const TunnelPeer& peer) {
    uint64_t cgroup = 0;
    if (cgroups_ != nullptr) cgroup = TRY(cgroups_->connected(peer.pid));
    cgroup_of_[peer.id] = cgroup;
    if (on_change) on_change();
    return {};
}

void TunnelLink::tunnel_synced(const TunnelPeer& peer) {
    WARREN_LOG(kTunnel, base::log::Level::Info, "tunnel has every pod", {"pid", static_cast<int64_t>(peer.pid)});
    if (on_change) on_change();
}

void TunnelLink::tunnel_gone(const TunnelPeer& peer) {
    const auto found = cgroup_of_.find(peer.id);
    if (found == cgroup_of_.end()) return;  // it never said hello
    if (cgroups_ != nullptr) cgroups_->disconnected(found->second);
    cgroup_of_.erase(found);
    WARREN_LOG(kTunnel, base::log::Level::Warn, "tunnel went away", {"pid", static_cast<int64_t>(peer.pid)}, {"left", cgroup_of_.size()});
    if (on_change) on_change();
}

void TunnelLink::pod_taken(const std::string& uid, const base::Result<void>& outcome) {
    if (!outcome) {
        WARREN_LOG(kTunnel, base::log::Level::Warn, "the tunnel could not take a pod; it tries again by itself", {"uid", uid},
                   {"error", outcome.error().message()});
    }
    const auto found = waiting_.find(uid);
    if (found == waiting_.end()) return;
    const Done done = std::move(found->second);
    waiting_.erase(found);
    if (done) done(outcome);
}

}  // namespace warren::node
