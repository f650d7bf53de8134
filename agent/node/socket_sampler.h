// SPDX-License-Identifier: Apache-2.0
// SocketSampler: what the open connections of a namespace that Warren decided about have carried so far, as records of the same kind as the
// ring's (WR_EVENT_SAMPLE): idle and long connections report too, and records lost from the ring are reconciled. Blocking, on a thread of
// its own (tcp_iterator.h).
#pragma once

#include "agent/node/tcp_iterator.h"
#include "base/netns.h"
#include "base/result.h"
#include "bpf/abi.h"

#include <cstddef>
#include <functional>
#include <string_view>

namespace warren::node {

class SocketSampler {
  public:
    // program: any that writes wr_flow_event records.
    static base::Result<SocketSampler> of(const KernelObject& object, std::string_view program = "wr_iter_sample");
    base::Result<size_t> sample(const base::Netns& netns, const base::Netns& home,
                                const std::function<void(const wr_flow_event&)>& each) const;

  private:
    explicit SocketSampler(TcpIterator iterator) : iterator_(std::move(iterator)) {}
    TcpIterator iterator_;
};

}  // namespace warren::node
