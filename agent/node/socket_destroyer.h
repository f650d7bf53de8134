// SPDX-License-Identifier: Apache-2.0
// SocketDestroyer: ends the direct connections of a namespace that may not go on, only those; run after the rows of wr_verdicts or wr_pods
// changed, in the namespace of every source pod concerned. The kernel judges (wr_iter_judge, bpf/iterate.bpf.c) and from Linux 6.5 on
// also ends them; before, and where it could not, it names them and NETLINK_SOCK_DIAG ends them (SOCK_DESTROY, Linux 4.9). Blocking, on a
// thread of its own (tcp_iterator.h).
#pragma once

#include "agent/node/socket_sampler.h"
#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

namespace warren::node {

class SocketDestroyer {
  public:
    // NotFound when the kernel has no TCP iterator: then a changed verdict counts for new connections only, which status says.
    static base::Result<SocketDestroyer> of(const KernelObject& object);

    struct Counts {
        size_t ended = 0;
        size_t gone = 0;    // ended by themselves meanwhile
        size_t failed = 0;  // still open; error says why
        std::string error = {};
    };
    // each, when given, gets the record of every connection that was judged (WR_EVENT_JUDGED), for the flow log.
    base::Result<Counts> judge(const base::Netns& netns, const base::Netns& home,
                               const std::function<void(const wr_flow_event&)>& each = {}) const;
    [[nodiscard]] bool in_kernel() const { return in_kernel_; }

  private:
    SocketDestroyer(SocketSampler judged, bool in_kernel) : judged_(std::move(judged)), in_kernel_(in_kernel) {}

    SocketSampler judged_;
    bool in_kernel_;
};

// Ends one TCP connection of the namespace the thread is in, as seen from the given end. False: there is none.
base::Result<bool> destroy_tcp(const base::SockAddr& local, const base::SockAddr& remote);

}  // namespace warren::node
