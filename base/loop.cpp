// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <string>

namespace warren::base {

namespace {

// At 10 us of relaying per event a batch stays near a millisecond, so timers, tasks and flushes do not wait for longer; the system call
// that fetches it is then under one per cent.
constexpr int kMaxEvents = 128;
constexpr uint64_t kWakeToken = UINT64_MAX;
constexpr uint32_t kNoSlot = UINT32_MAX;

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

uint64_t floor_ms(MonoTime t) { return static_cast<uint64_t>(std::chrono::floor<milliseconds>(t.time_since_epoch()).count()); }

uint64_t ceil_ms(MonoTime t) { return static_cast<uint64_t>(std::chrono::ceil<milliseconds>(t.time_since_epoch()).count()); }

// One writer: no locked instruction needed.
void bump(std::atomic<uint64_t>& counter, uint64_t by) {
    if (by != 0) counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

IoHandler::~IoHandler() {
    if (loop_ != nullptr) loop_->remove(*this);
}

Result<std::unique_ptr<Loop>> Loop::create(Options options) {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return os_error("epoll_create1");
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return os_error("eventfd");
    epoll_event event{};
    // Edge-triggered: one report per burst of writes, and the counter need never be read. It cannot overflow: 2^64 wake-ups.
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = kWakeToken;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return os_error("epoll_ctl", "add the loop's eventfd");
    return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake), options));
}

Loop::Loop(Fd epoll, Fd wake, const Options& options)
    : epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      now_(steady_clock::now()),
      free_slot_(kNoSlot),
      timers_(floor_ms(now_)),
      mailbox_(options.mailbox_capacity) {}

Loop::~Loop() {
    // Both may own handlers, timers and hooks of this loop, so they go first, while it is whole.
    while (mailbox_.pop()) {
    }
    empty_graveyard();
    for (Slot& slot : slots_) {
        if (slot.handler != nullptr) slot.handler->loop_ = nullptr;
    }
}

Result<void> Loop::add(int fd, IoHandler& handler, uint32_t events) {
    if (handler.registered()) {
        return Error{Errc::Internal, 0, "epoll_ctl",
                     "add fd " + std::to_string(fd) + ": the handler has fd " + std::to_string(handler.fd_)};
    }
    if (free_slot_ == kNoSlot) {
        slots_.push_back({.next_free = kNoSlot});
        free_slot_ = static_cast<uint32_t>(slots_.size() - 1);
    }
    const uint32_t index = free_slot_;
    Slot& slot = slots_[index];
    epoll_event event{};
    event.events = events;
    event.data.u64 = uint64_t{slot.generation} << 32 | index;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return os_error("epoll_ctl", "add fd " + std::to_string(fd));
    free_slot_ = slot.next_free;
    slot.handler = &handler;
    handler.loop_ = this;
    handler.fd_ = fd;
    handler.slot_ = index;
    return {};
}

Result<void> Loop::modify(IoHandler& handler, uint32_t events) {
    if (handler.loop_ != this) return Error{Errc::Internal, 0, "epoll_ctl", "modify a handler that is not of this loop"};
    epoll_event event{};
    event.events = events;
    event.data.u64 = uint64_t{slots_[handler.slot_].generation} << 32 | handler.slot_;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, handler.fd_, &event) != 0) {
        return os_error("epoll_ctl", "modify fd " + std::to_string(handler.fd_));
    }
    return {};
}

void Loop::remove(IoHandler& handler) noexcept {
    if (handler.loop_ != this) return;
    // Fails only when the descriptor is closed, and then the kernel has removed it already (or the generation drops what comes).
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, handler.fd_, nullptr);
    handler.loop_ = nullptr;
    handler.fd_ = -1;
    Slot& slot = slots_[handler.slot_];
    slot.handler = nullptr;
    ++slot.generation;
    slot.next_free = free_slot_;
    free_slot_ = handler.slot_;
}

void Loop::arm(Timer& timer, milliseconds delay) {
    // Bounded before it is added: milliseconds::max() must not overflow into the past.
    constexpr milliseconds kLongest = std::chrono::hours(24 * 365 * 100);
    timers_.arm(timer, ceil_ms(now() + std::clamp(delay, milliseconds(0), kLongest)));
}

bool Loop::post(Task task) {
    if (!mailbox_.push(std::move(task))) {
        tasks_refused_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    wake();
    return true;
}

void Loop::stop() {
    stop_.store(true, std::memory_order_relaxed);
    wake();
}

// The exchanges on woken_ here and in run_once() have one order: either this one is the earlier, and the loop's acquires what was pushed,
// or it is the later, finds false and writes.
void Loop::wake() {
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

LoopStats Loop::stats() const {
    const auto read = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
    return {.batches = read(counters_.batches),
            .events = read(counters_.events),
            .stale_events = read(counters_.stale_events),
            .busy_ns = read(counters_.busy_ns),
            .timers_fired = read(counters_.timers_fired),
            .tasks_run = read(counters_.tasks_run),
            .tasks_refused = read(tasks_refused_)};
}

Result<void> Loop::run() {
    while (!stop_.load(std::memory_order_relaxed)) TRY(run_once(MonoTime::max()));
    return {};
}

Result<void> Loop::run_once(MonoTime deadline) {
    assert(!in_batch_);
    std::array<epoll_event, kMaxEvents> events;  // NOLINT(cppcoreguidelines-pro-type-member-init): the kernel fills it
    int count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, timeout_ms(steady_clock::now(), deadline));
    if (count < 0) {
        if (errno != EINTR) return os_error("epoll_wait");
        count = 0;
    }
    now_ = steady_clock::now();
    in_batch_ = true;
    run_tasks();
    deliver(events.data(), count);
    bump(counters_.timers_fired, timers_.advance(floor_ms(now_)));
    run_hooks();
    empty_graveyard();
    in_batch_ = false;
    bump(counters_.batches, 1);
    bump(counters_.busy_ns, static_cast<uint64_t>(nanoseconds(steady_clock::now() - now_).count()));
    return {};
}

int Loop::timeout_ms(MonoTime now, MonoTime deadline) const {
    if (!hooks_.empty() || !bulk_.empty() || !graveyard_.empty()) return 0;
    if (const auto next = timers_.next_ms()) deadline = std::min(deadline, MonoTime(milliseconds(*next)));
    if (deadline == MonoTime::max()) return -1;
    if (deadline <= now) return 0;
    // Up, or the wait would end before the deadline and the rest of the millisecond be spent in empty batches.
    return static_cast<int>(std::min(std::chrono::ceil<milliseconds>(deadline - now), milliseconds(INT32_MAX)).count());
}

void Loop::deliver(const epoll_event* events, int count) {
    uint64_t delivered = 0;
    uint64_t stale = 0;
    for (int i = 0; i < count; ++i) {
        const uint64_t token = events[i].data.u64;
        if (token == kWakeToken) continue;  // run_tasks() looks anyway
        const auto index = static_cast<uint32_t>(token);
        const Slot& slot = slots_[index];
        if (slot.handler == nullptr || slot.generation != static_cast<uint32_t>(token >> 32)) {
            ++stale;
            continue;
        }
        ++delivered;
        slot.handler->on_io(events[i].events);  // may add handlers, and so move the slots
    }
    bump(counters_.events, delivered);
    bump(counters_.stale_events, stale);
}

void Loop::run_tasks() {
    if (!woken_.load(std::memory_order_relaxed)) return;
    woken_.exchange(false, std::memory_order_acq_rel);
    // A batch runs no more than fit the mailbox: a task that posts another cannot keep the loop from its I/O. What is left then was posted
    // after the exchange, and has woken the loop anew.
    size_t ran = 0;
    for (; ran < mailbox_.capacity(); ++ran) {
        Task task = mailbox_.pop();
        if (!task) break;
        task();
    }
    bump(counters_.tasks_run, ran);
}

void Loop::run_hooks() {
    LinkList<BatchHook> asked;
    asked.take(hooks_);
    while (BatchHook* hook = asked.pop_front()) hook->on_batch_end();
    if (BatchHook* hook = bulk_.pop_front()) hook->on_batch_end();
}

void Loop::empty_graveyard() {
    while (const std::unique_ptr<Buried> dead{graveyard_.pop_front()}) {
    }
}

}  // namespace warren::base
