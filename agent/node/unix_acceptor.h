// SPDX-License-Identifier: Apache-2.0
// UnixAcceptor: hands every peer that connects to a UnixListener to its owner, on the loop's thread. While the process has no descriptor
// left it looks again ten times a second: who waits stays in the listener's queue, and a level-triggered loop does not spin meanwhile.
#pragma once

#include "agent/node/unix_listener.h"
#include "base/loop.h"
#include "base/result.h"
#include "base/timer.h"

#include <cstdint>
#include <functional>

namespace warren::node {

class UnixAcceptor final : private base::IoHandler {
  public:
    // Every peer, trusted or not.
    using Take = std::function<void(UnixPeer)>;

    // The loop outlives it.
    UnixAcceptor(base::Loop& loop, UnixListener listener, Take take);
    ~UnixAcceptor() override;

    [[nodiscard]] base::Result<void> start();

  private:
    void on_io(uint32_t events) override;
    void look_again();

    base::Loop& loop_;
    UnixListener listener_;
    Take take_;
    base::Timer again_;
};

}  // namespace warren::node
