// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <algorithm>
#include <bit>

namespace warren::base {

Mailbox::Mailbox(size_t capacity) : cells_(std::bit_ceil(std::max<size_t>(capacity, 2))), mask_(cells_.size() - 1) {
    for (size_t i = 0; i < cells_.size(); ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
}

bool Mailbox::push(Task&& task) {
    uint64_t mine = tail_.load(std::memory_order_relaxed);
    for (;;) {
        Cell& cell = cells_[mine & mask_];
        const uint64_t turn = cell.turn.load(std::memory_order_acquire);
        if (turn == mine) {
            if (!tail_.compare_exchange_weak(mine, mine + 1, std::memory_order_relaxed)) continue;
            cell.task = std::move(task);
            cell.turn.store(mine + 1, std::memory_order_release);
            return true;
        }
        if (turn < mine) return false;  // still holds the task of the round before
        mine = tail_.load(std::memory_order_relaxed);
    }
}

Task Mailbox::pop() {
    Cell& cell = cells_[head_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != head_ + 1) return {};
    Task task = std::move(cell.task);
    cell.turn.store(head_ + cells_.size(), std::memory_order_release);
    ++head_;
    return task;
}

}  // namespace warren::base
