// SPDX-License-Identifier: Apache-2.0
// TcpIterator: one iter/tcp program, run over the TCP sockets of a namespace at a time (a TCP iterator sees only the namespace in which it
// was made, Linux 5.9). Blocking: a run walks the node's socket table, some milliseconds; for a thread of its own. The thread is taken into
// the namespace and back.
#pragma once

#include "agent/node/kernel_object.h"
#include "base/fd.h"
#include "base/netns.h"
#include "base/result.h"

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

namespace warren::node {

class TcpIterator {
  public:
    // NotFound: the program is not in the object, or was left out for this kernel.
    static base::Result<TcpIterator> of(const KernelObject& object, std::string_view program);

    // out gets what the program wrote, in pieces of any size.
    base::Result<void> run(const base::Netns& netns, const base::Netns& home,
                           const std::function<void(std::span<const std::byte>)>& out) const;

  private:
    explicit TcpIterator(base::Fd link) : link_(std::move(link)) {}
    base::Fd link_;
};

}  // namespace warren::node
