// SPDX-License-Identifier: Apache-2.0
// PodNetns: a pod's network namespace once it is found and believed: opened, not the node's own, with its cookie, and the addresses it has
// (rtnetlink(7), RTM_GETADDR), which it tells changes of. Used by the enrolment's thread, which it enters and leaves namespaces on.
#pragma once

#include "agent/node/pod_source.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace warren::node {

// The node's own namespaces: never captured. That of process 1 and that of the agent, one and the same where the agent runs as it should.
class NodeNetns {
  public:
    static base::Result<NodeNetns> of_this_node(const std::string& path = "/proc/1/ns/net");
    [[nodiscard]] bool owns(const base::Netns& netns) const { return netns == *node_ || netns == *own_; }
    [[nodiscard]] const base::Netns& node() const { return *node_; }
    [[nodiscard]] const base::Netns& own() const { return *own_; }  // where the agent's threads are

  private:
    std::shared_ptr<const base::Netns> node_, own_;
};

class PodNetns {
  public:
    // Refused: the node's own namespace (Denied), one whose process has none of the pod's declared addresses when only a pid is known
    // (Unavailable: the pid may be another process by now), and what cannot be opened.
    static base::Result<PodNetns> open(const Pod& pod, const NodeNetns& node);

    [[nodiscard]] const std::shared_ptr<const base::Netns>& netns() const { return netns_; }
    [[nodiscard]] uint64_t cookie() const { return cookie_; }
    // Sorted, without loopback, link-local, multicast and unspecified ones.
    [[nodiscard]] const std::vector<base::IpAddr>& addresses() const { return addresses_; }

    // Readable when an address may have come or gone.
    [[nodiscard]] int watch_fd() const { return watch_.get(); }
    // After watch_fd() was readable: reads what there is, scans again. True: the addresses are others now.
    base::Result<bool> refresh();

  private:
    PodNetns() = default;
    std::shared_ptr<const base::Netns> netns_;
    const base::Netns* home_ = nullptr;  // NodeNetns's, which outlives this
    uint64_t cookie_ = 0;
    base::Fd watch_;
    std::vector<base::IpAddr> addresses_;
};

}  // namespace warren::node
