// SPDX-License-Identifier: Apache-2.0
// The bounded queue behind the log and the one thread that empties it: up to 64 lines a writev (data-plane contract section 9.5). Any
// thread pushes; when the queue is full it waits for room. That wait has a deadline: once it passed, the descriptor counts as stuck, the
// line is dropped and counted, and further lines are dropped at once until the descriptor takes a batch again, so a stuck stdout costs the
// data plane one deadline and not one per line. The writer thread takes no signals; a broken pipe is a counted failure, not a SIGPIPE.
// The descriptor is duplicated: a thread that was left behind in writev never writes to a number that was closed and given out again.
// Not usable across fork.
#pragma once

#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace warren::base::log {

struct Stats {
    uint64_t written = 0;  // lines handed to the descriptor whole
    uint64_t dropped = 0;  // lines that found no room in time
    uint64_t failed = 0;   // lines that the descriptor refused
};

class Writer {
  public:
    static constexpr int kBatchLines = 64;

    struct Options {
        int fd = 1;
        size_t queue_lines = 10'000;
        std::chrono::milliseconds full_deadline{1000};
    };
    static Result<std::unique_ptr<Writer>> start(const Options& options);

    ~Writer();  // stop(full_deadline)
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // A whole line with its line feed. False: dropped.
    bool push(std::string line);
    // Waits until every line pushed so far was written or refused. False: the deadline passed.
    bool flush(std::chrono::milliseconds deadline);
    // Takes no more lines, writes what is queued and ends the thread. A thread that hangs in writev past the deadline is left behind
    // (false): the queue stays alive for it, and the process may end.
    bool stop(std::chrono::milliseconds deadline);

    [[nodiscard]] Stats stats() const;

  private:
    struct Queue;
    explicit Writer(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}

    std::shared_ptr<Queue> queue_;  // shared with the thread alone
    std::thread thread_;
};

}  // namespace warren::base::log
