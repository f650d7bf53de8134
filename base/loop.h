// SPDX-License-Identifier: Apache-2.0
// Loop: one epoll loop per worker thread. A batch is: wait, run posted tasks, deliver I/O events, fire timers, run the hooks of the batch's
// end, destroy what was buried. Tasks come first: a connection that arrives after a policy was posted is judged by it. Nothing on that path
// allocates; handlers, timers and hooks are members of the objects they serve.
//
// Threads: whoever runs the loop owns it, and alone may call it; post(), stop() and stats() are for any thread, as long as the loop lives.
// It may be made on one thread and run on another. Handlers, timers and hooks may die before the loop or after it.
//
// Connections are destroyed by bury(), never by a plain delete inside a callback: the frame that is running may be theirs.
#pragma once

#include "base/clock.h"
#include "base/fd.h"
#include "base/link.h"
#include "base/mailbox.h"
#include "base/result.h"
#include "base/timer.h"

#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace warren::base {

class Loop;

// Receives the events of one descriptor. Borrowed by the loop from add() to remove() or to the handler's end, which removes it.
class IoHandler {
  public:
    virtual ~IoHandler();
    IoHandler(const IoHandler&) = delete;
    IoHandler& operator=(const IoHandler&) = delete;

    // EPOLLIN, EPOLLOUT, EPOLLHUP ... as the kernel reported them, for one batch in one call. Not after remove(), not even for events that
    // this batch has fetched already.
    virtual void on_io(uint32_t epoll_events) = 0;
    [[nodiscard]] bool registered() const { return loop_ != nullptr; }

  protected:
    IoHandler() = default;

  private:
    friend class Loop;
    Loop* loop_ = nullptr;
    int fd_ = -1;  // the owner's
    uint32_t slot_ = 0;
};

// Called once at the end of a batch in which it was asked for: writes of a whole batch leave in one system call.
class BatchHook : public Link<BatchHook> {
  public:
    virtual ~BatchHook() = default;
    virtual void on_batch_end() = 0;
};

// What the loop destroys after the batch.
class Buried : public Link<Buried> {
  public:
    virtual ~Buried() = default;
};

// Running totals since the loop was made. busy_ns over wall time is the load of the worker.
struct LoopStats {
    uint64_t batches = 0;
    uint64_t events = 0;        // delivered to handlers
    uint64_t stale_events = 0;  // dropped: their handler was gone
    uint64_t busy_ns = 0;       // from the return of epoll_wait to the end of the batch; added when the batch ends
    uint64_t timers_fired = 0;
    uint64_t tasks_run = 0;
    uint64_t tasks_refused = 0;  // the mailbox was full
};

class Loop {  // NOLINT(clang-analyzer-optin.performance.Padding): cache lines by who writes them
  public:
    struct Options {
        // Tasks are connections handed over and snapshots published: a burst of a thousand is beyond both, and 16 KiB per worker.
        size_t mailbox_capacity = 1024;
    };

    static Result<std::unique_ptr<Loop>> create(Options options);
    static Result<std::unique_ptr<Loop>> create() { return create(Options{}); }
    // Destroys the tasks that did not run and what is buried, and lets handlers, timers and hooks go.
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Descriptors: one handler for one descriptor; events is epoll's mask, level-triggered unless it has EPOLLET.
    [[nodiscard]] Result<void> add(int fd, IoHandler& handler, uint32_t events);
    // A new mask; also re-arms EPOLLONESHOT, and reports anew what is ready under EPOLLET.
    [[nodiscard]] Result<void> modify(IoHandler& handler, uint32_t events);
    // Before the descriptor is closed: a duplicate of it elsewhere would keep the registration, and wake this loop for nobody (which is
    // harmless and shows as stale_events, but cannot be ended any more). Nothing to do when not registered.
    void remove(IoHandler& handler) noexcept;

    // Timers: millisecond resolution, never early with respect to now(), at the batch's pace.
    void arm(Timer& timer, std::chrono::milliseconds delay);
    void disarm(Timer& timer) { timers_.disarm(timer); }
    // The time at which this batch began; outside of a batch, the time.
    [[nodiscard]] MonoTime now() const { return in_batch_ ? now_ : std::chrono::steady_clock::now(); }

    // The end of the batch: hooks run in the order in which they were asked for, each once however often it was asked for. One asked
    // for by a hook runs at the end of the next batch, which does not wait: two hooks that call for each other cannot keep the loop from
    // its I/O.
    void post_batch(BatchHook& hook) {
        if (!hook.linked()) hooks_.push_back(hook);
    }
    // For a hook that moves much: one of these runs a batch, after all others, and they take turns. What comes meanwhile waits for one.
    void post_bulk(BatchHook& hook) {
        if (!hook.linked()) bulk_.push_back(hook);
    }
    // Destroyed after the hooks, oldest first. This does not silence it: remove its handlers, disarm its timers before, or expect their
    // calls until the batch ends.
    void bury(std::unique_ptr<Buried> dead) {
        if (dead) graveyard_.push_back(*dead.release());
    }

    // From any thread: false when the mailbox is full: the task has then been destroyed unrun, and is counted. Tasks run in the order of
    // posting, as far as posts of different threads have one. A true answer is no promise to run: the loop may be stopping.
    [[nodiscard]] bool post(Task task);
    // run() returns after the batch it is in, at once if it is not running yet. For good. Safe in a signal handler.
    void stop();
    [[nodiscard]] LoopStats stats() const;

    // Runs until stop(). An error is epoll's refusal to work, that is, our bug.
    [[nodiscard]] Result<void> run();
    // One batch; waits for something to do until the deadline at most. Not from inside a batch.
    [[nodiscard]] Result<void> run_once(MonoTime deadline);

  private:
    // Events carry slot and generation, not a pointer: an event for a handler that is gone, from this batch or from a duplicated
    // descriptor that epoll still watches, finds another generation and is dropped.
    struct Slot {
        IoHandler* handler = nullptr;
        uint32_t generation = 0;
        uint32_t next_free = 0;
    };
    struct Counters {
        std::atomic<uint64_t> batches = 0, events = 0, stale_events = 0, busy_ns = 0, timers_fired = 0, tasks_run = 0;
    };

    Loop(Fd epoll, Fd wake, const Options& options);
    [[nodiscard]] int timeout_ms(MonoTime now, MonoTime deadline) const;
    void deliver(const epoll_event* events, int count);
    void run_tasks();
    void run_hooks();
    void empty_graveyard();
    void wake();

    Fd epoll_;
    Fd wake_;
    MonoTime now_;
    bool in_batch_ = false;
    std::vector<Slot> slots_;  // as many as there were handlers at once, which RLIMIT_NOFILE bounds
    uint32_t free_slot_;
    TimerWheel timers_;
    LinkList<BatchHook> hooks_;
    LinkList<BatchHook> bulk_;
    LinkList<Buried> graveyard_;
    Mailbox mailbox_;

    alignas(64) Counters counters_;  // the loop writes, others read
    alignas(64) std::atomic<uint64_t> tasks_refused_ = 0;
    std::atomic<bool> woken_ = false;  // a wake-up is under way: posters need not write to the eventfd
    std::atomic<bool> stop_ = false;
};

}  // namespace warren::base
