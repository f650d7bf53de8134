// SPDX-License-Identifier: Apache-2.0
// Timers that live inside the object they time, and the wheel that fires them. Nothing is allocated, arming and disarming are O(1), and
// pushing an armed timer further out (an idle timeout on every read) is one store: the timer stays in its slot, and moves only when the
// slot comes up.
//
// The wheel is hierarchical, after Varghese and Lauck: seven levels of 64 slots, indexed by six bits of the absolute millisecond each. A
// timer sits on the level of the highest six-bit group in which its deadline differs from the wheel's time, so every timer of a level is
// due before any timer of the level above, and all the slots in use on a level lie ahead: one bitmap per level finds the next in a few
// cycles.
//
// Pure: it is told the time. Owned by one thread (base/loop.h); Timer may be destroyed armed, in either order with the wheel, and by its
// own callback.
#pragma once

#include "base/link.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace warren::base {

class TimerWheel;

class Timer : public Link<Timer> {
  public:
    using Callback = void (*)(void* context);
    Timer(Callback callback, void* context) : callback_(callback), context_(context) {}
    ~Timer();

    // A timer that calls owner.Method(): Timer idle_ = Timer::of<&Connection::on_idle>(*this);
    template <auto Method, class Owner>
    static Timer of(Owner& owner) {
        return Timer([](void* context) { (static_cast<Owner*>(context)->*Method)(); }, &owner);
    }

    [[nodiscard]] bool armed() const { return linked(); }
    // The millisecond of the last arming; means something only while armed.
    [[nodiscard]] uint64_t when_ms() const { return when_ms_; }

  private:
    friend class TimerWheel;
    Callback callback_;
    void* context_;
    TimerWheel* wheel_ = nullptr;
    uint64_t when_ms_ = 0;
    uint64_t slot_ms_ = 0;  // start of the slot it sits in, never after when_ms_
    uint32_t slot_ = 0;     // level * 64 + index
};
static_assert(sizeof(Timer) <= 64, "a connection carries several");

class TimerWheel {
  public:
    explicit TimerWheel(uint64_t now_ms) : now_ms_(now_ms), floor_ms_(now_ms) {}
    ~TimerWheel() = default;
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    // Fires at the first advance() to when_ms or later; a time that has passed means the next millisecond. Re-arms an armed timer.
    void arm(Timer& timer, uint64_t when_ms);
    // Nothing to do for a timer that is not armed.
    void disarm(Timer& timer);

    // Until when advance() has nothing to do: at or before the earliest deadline; early by design, when timers must move down a level or
    // were re-armed. Empty without timers.
    [[nodiscard]] std::optional<uint64_t> next_ms() const;

    // Fires what is due, in the order of deadlines, and returns how many that were. Callbacks may arm, disarm and destroy any timer; what
    // they arm fires at a later advance at the earliest. Time that runs backwards is ignored.
    size_t advance(uint64_t now_ms);

  private:
    static constexpr unsigned kBits = 6;
    static constexpr unsigned kSlots = 1u << kBits;
    static constexpr unsigned kLevels = 7;
    // 2^42 ms is 139 years of uptime: the absolute time never wraps, later deadlines are cut to it.
    static constexpr uint64_t kMaxMs = (uint64_t{1} << (kBits * kLevels)) - 1;

    void place(Timer& timer);
    void unplace(Timer& timer);
    size_t fire(uint32_t slot);

    uint64_t now_ms_;    // all before it has fired
    uint64_t floor_ms_;  // what the running advance() goes up to: arming is later than this
    std::array<uint64_t, kLevels> used_{};
    std::array<LinkList<Timer>, size_t{kLevels} * kSlots> slots_;
};

}  // namespace warren::base
