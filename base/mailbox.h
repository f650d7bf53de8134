// SPDX-License-Identifier: Apache-2.0
// Mailbox: a bounded queue of tasks from any thread to one consumer (the loop that owns it), after Vyukov's bounded queue: each cell
// carries the number of the turn it is ready for, so producers meet on one counter only and the consumer waits for nobody. A mutex would
// let a producer that lost its CPU hold up a worker's connections. Waking the consumer is the owner's matter.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace warren::base {

// A call to make once, like std::move_only_function<void()> (C++23): it may own descriptors and other things that do not copy. What it owns
// is released when it dies, run or not.
class Task {
  public:
    Task() = default;
    // The constraint leaves copying and moving to their own constructors.
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, Task>)
    Task(F&& call)  // NOLINT(google-explicit-constructor)
        : call_(std::make_unique<Holder<std::decay_t<F>>>(std::forward<F>(call))) {}
    void operator()() { call_->run(); }
    explicit operator bool() const { return call_ != nullptr; }

  private:
    struct Call {
        virtual ~Call() = default;
        virtual void run() = 0;
    };
    template <class F>
    struct Holder final : Call {
        explicit Holder(F call) : f(std::move(call)) {}
        void run() override { f(); }
        F f;
    };
    std::unique_ptr<Call> call_;
};

class Mailbox {  // NOLINT(clang-analyzer-optin.performance.Padding): cache lines by who writes them
  public:
    // capacity is rounded up to a power of two, at least 2.
    explicit Mailbox(size_t capacity);

    // Any thread. False when full; the task is then still the caller's.
    [[nodiscard]] bool push(Task&& task);
    // The consumer. An empty task: nothing there, or the next one is still being put in by a producer that will have pushed in a moment.
    [[nodiscard]] Task pop();
    [[nodiscard]] size_t capacity() const { return cells_.size(); }

  private:
    struct Cell {
        std::atomic<uint64_t> turn;  // n: free for push number n; n + 1: holds push number n
        Task task;
    };
    std::vector<Cell> cells_;
    uint64_t mask_;
    alignas(64) std::atomic<uint64_t> tail_ = 0;  // the next push; apart from what the consumer writes
    alignas(64) uint64_t head_ = 0;               // the next pop
};

}  // namespace warren::base
