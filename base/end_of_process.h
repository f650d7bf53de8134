// SPDX-License-Identifier: Apache-2.0
// EndOfProcess: how a daemon is told to end: SIGTERM, SIGINT, or a word from one of its own threads. prepare() on the main thread before
// any other thread exists, so that all inherit the blocked signals; wait() on the main thread; ask() anywhere.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <chrono>
#include <utility>

namespace warren::base {

class EndOfProcess {
  public:
    // Also ignores SIGPIPE.
    static Result<EndOfProcess> prepare();

    // Who asked is told as wait()'s answer: "asked by the admin port".
    void ask() const;
    // "SIGTERM", "SIGINT" or "asked by the admin port"; nullptr: not within the patience.
    [[nodiscard]] const char* wait_for(std::chrono::milliseconds patience) const;
    // Gives back what only the start needed (startup_memory.h) once it is over, then waits for ever.
    [[nodiscard]] const char* wait() const;
    // From now on another SIGINT ends the process at once (data-plane contract 4.8).
    static void exit_on_second_interrupt();

  private:
    EndOfProcess(Fd signals, Fd asked) : signals_(std::move(signals)), asked_(std::move(asked)) {}
    Fd signals_, asked_;
};

}  // namespace warren::base
