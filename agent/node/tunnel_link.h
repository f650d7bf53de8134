// SPDX-License-Identifier: Apache-2.0
// TunnelLink: the tunnel as enrolment sees it (tunnel_pods.h) and the node as the ZDS server sees it: pods go out over ZDS, a tunnel that
// connects has its cgroup exempted from capture before it hears of any pod. On the agent's loop.
#pragma once

#include "agent/node/tunnel_cgroup.h"
#include "agent/node/tunnel_pods.h"
#include "agent/node/zds_server.h"
#include "base/loop.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace warren::node {

class TunnelLink final : public TunnelPods, private TunnelEvents {
  public:
    // cgroups null: redirection is off, so nothing is exempt. Both outlive the link.
    static base::Result<std::unique_ptr<TunnelLink>> start(base::Loop& loop, ZdsOptions options, TunnelCgroups* cgroups);

    [[nodiscard]] bool connected() const override;
    void pod_ready(PodPtr pod, std::shared_ptr<const base::Netns> netns, Done done) override;
    void pod_gone(const std::string& uid) override;

    // Enrolment has told of every pod there is.
    void complete() { server_->complete(); }
    // A tunnel is there and has answered for every pod.
    [[nodiscard]] bool synced() const;
    [[nodiscard]] const ZdsServer& server() const { return *server_; }
    std::function<void()> on_change = {};  // a tunnel came, was told all, or went

  private:
    explicit TunnelLink(TunnelCgroups* cgroups) : cgroups_(cgroups) {}
    base::Result<void> tunnel_connected(const TunnelPeer& peer) override;
    void tunnel_synced(const TunnelPeer& peer) override;
    void tunnel_gone(const TunnelPeer& peer) override;
    void pod_taken(const std::string& uid, const base::Result<void>& outcome) override;

    TunnelCgroups* const cgroups_;
    std::unique_ptr<ZdsServer> server_;
    std::map<std::string, Done> waiting_;     // by uid
    std::map<uint64_t, uint64_t> cgroup_of_;  // connection -> cgroup
};

}  // namespace warren::node
