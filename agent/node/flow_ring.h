// SPDX-License-Identifier: Apache-2.0
// FlowRing: the reader of the kernel's ring of flow records. The kernel wakes it above a fill (wr_config.ring_wakeup_bytes) and by no other
// rule, so a timer reads besides: mixing wake-up rules put a consumer to sleep for good (trap 25). On the loop's thread.
#pragma once

#include "base/loop.h"
#include "base/result.h"
#include "bpf/abi.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace warren::node {

class FlowRing {
  public:
    using Take = std::function<void(const wr_flow_event&)>;
    // map_fd is borrowed for the call; take must not destroy the ring.
    static base::Result<std::unique_ptr<FlowRing>> start(base::Loop& loop, int map_fd, std::chrono::milliseconds period, Take take);
    virtual ~FlowRing() = default;
    virtual void drain() = 0;                              // reads what is there now
    [[nodiscard]] virtual uint64_t records() const = 0;    // any thread
    [[nodiscard]] virtual uint64_t malformed() const = 0;  // of another size: an object of another version writes
};

}  // namespace warren::node
