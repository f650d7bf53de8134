// SPDX-License-Identifier: Apache-2.0
#include "base/timer.h"

#include <algorithm>
#include <bit>

namespace warren::base {

Timer::~Timer() {
    if (armed()) wheel_->disarm(*this);
}

void TimerWheel::arm(Timer& timer, uint64_t when_ms) {
    timer.when_ms_ = std::clamp(when_ms, floor_ms_ + 1, kMaxMs);
    if (timer.armed()) {
        if (timer.wheel_ == this && timer.slot_ms_ <= timer.when_ms_) return;
        timer.wheel_->unplace(timer);
    }
    place(timer);
}

void TimerWheel::disarm(Timer& timer) {
    if (timer.armed()) unplace(timer);
}

void TimerWheel::place(Timer& timer) {
    const uint64_t when = timer.when_ms_;
    // | 1: a level-0 answer for equal times too, without asking countl_zero about 0.
    const unsigned highest = 63u - static_cast<unsigned>(std::countl_zero((when ^ now_ms_) | 1));
    const unsigned level = highest / kBits;
    const unsigned shift = level * kBits;
    const auto index = static_cast<unsigned>(when >> shift) & (kSlots - 1);
    timer.wheel_ = this;
    timer.slot_ = level * kSlots + index;
    timer.slot_ms_ = when >> shift << shift;
    slots_[timer.slot_].push_back(timer);
    used_[level] |= uint64_t{1} << index;
}

void TimerWheel::unplace(Timer& timer) {
    LinkList<Timer>::remove(timer);
    if (!slots_[timer.slot_].empty()) return;  // the slot's own list: a timer that fire() holds finds the bit cleared or in new use
    used_[timer.slot_ / kSlots] &= ~(uint64_t{1} << timer.slot_ % kSlots);
}

std::optional<uint64_t> TimerWheel::next_ms() const {
    for (unsigned level = 0; level < kLevels; ++level) {
        if (used_[level] == 0) continue;
        const unsigned shift = level * kBits;
        const auto index = static_cast<uint64_t>(std::countr_zero(used_[level]));
        return (now_ms_ >> (shift + kBits) << (shift + kBits)) | index << shift;
    }
    return std::nullopt;
}

size_t TimerWheel::advance(uint64_t now_ms) {
    if (now_ms <= now_ms_) return 0;
    floor_ms_ = std::min(now_ms, kMaxMs - 1);
    size_t fired = 0;
    for (auto next = next_ms(); next && *next <= floor_ms_; next = next_ms()) {
        // The first slot in use on the lowest level in use.
        unsigned level = 0;
        while (used_[level] == 0) ++level;
        now_ms_ = *next;
        fired += fire(level * kSlots + static_cast<unsigned>(std::countr_zero(used_[level])));
    }
    now_ms_ = floor_ms_;
    return fired;
}

// Empties the slot that begins at now_ms_: what is due is called, the rest (a higher level's, or re-armed) is placed anew.
size_t TimerWheel::fire(uint32_t slot) {
    LinkList<Timer> due;
    due.take(slots_[slot]);
    used_[slot / kSlots] &= ~(uint64_t{1} << slot % kSlots);
    size_t fired = 0;
    while (Timer* timer = due.pop_front()) {
        if (timer->when_ms_ > now_ms_) {
            place(*timer);
            continue;
        }
        ++fired;
        timer->callback_(timer->context_);  // may have destroyed it
    }
    return fired;
}

}  // namespace warren::base
