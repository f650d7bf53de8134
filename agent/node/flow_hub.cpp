// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_hub.h"

#include <algorithm>
#include <utility>

namespace warren::node {

FlowHub::Listener::~Listener() {
    const std::lock_guard hub(hub_.mutex_);
    std::erase(hub_.listeners_, this);
}

FlowHub::Listener::Batch FlowHub::Listener::next(size_t most, std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, patience, [this] { return !queue_.empty() || ended_; });
    Batch batch;
    const size_t n = std::min(most, queue_.size());
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(n);
    batch.flows.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
    queue_.erase(queue_.begin(), end);
    batch.lost = lost_;
    batch.ended = ended_ && queue_.empty();
    return batch;
}

std::unique_ptr<FlowHub::Listener> FlowHub::listen(Filter filter, size_t capacity) {
    std::unique_ptr<Listener> made(new Listener(*this, std::move(filter), capacity));
    const std::lock_guard lock(mutex_);
    made->ended_ = closed_;
    listeners_.push_back(made.get());
    return made;
}

void FlowHub::publish(const FlowRef& flow) {
    const std::lock_guard hub(mutex_);
    for (Listener* l : listeners_) {
        if (l->filter_ && !l->filter_(*flow)) continue;
        const std::lock_guard lock(l->mutex_);
        if (l->queue_.size() >= l->capacity_) {
            ++l->lost_;
            ++lost_;
            continue;
        }
        l->queue_.push_back(flow);
        if (l->queue_.size() == 1) l->news_.notify_one();
    }
}

void FlowHub::add_lost(uint64_t n) {
    if (n == 0) return;
    const std::lock_guard hub(mutex_);
    for (Listener* l : listeners_) {
        const std::lock_guard lock(l->mutex_);
        l->lost_ += n;
    }
}

void FlowHub::close() {
    const std::lock_guard hub(mutex_);
    closed_ = true;
    for (Listener* l : listeners_) {
        const std::lock_guard lock(l->mutex_);
        l->ended_ = true;
        l->news_.notify_one();
    }
}

size_t FlowHub::listeners() const {
    const std::lock_guard hub(mutex_);
    return listeners_.size();
}

uint64_t FlowHub::lost() const {
    const std::lock_guard hub(mutex_);
    return lost_;
}

}  // namespace warren::node
