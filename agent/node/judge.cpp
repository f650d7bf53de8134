// SPDX-License-Identifier: Apache-2.0
#include "agent/node/judge.h"

#include "base/log.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace warren::node {
namespace {

const base::log::Area kPolicy("policy");

}  // namespace

Judge::Judge(SocketDestroyer destroyer) : destroyer_(std::move(destroyer)), thread_([this] { run(); }) {}

Judge::~Judge() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    asked_.notify_one();
    thread_.join();
}

void Judge::request(std::vector<std::shared_ptr<const base::Netns>> namespaces) {
    if (namespaces.empty()) return;
    {
        const std::lock_guard lock(mutex_);
        if (pending_.empty()) asked_at_ = std::chrono::steady_clock::now();
        for (auto& one : namespaces) {
            const bool there = std::any_of(pending_.begin(), pending_.end(), [&](const auto& p) { return *p == *one; });
            if (!there) pending_.push_back(std::move(one));
        }
    }
    asked_.notify_one();
}

void Judge::run() {
    for (;;) {
        std::vector<std::shared_ptr<const base::Netns>> now;
        std::chrono::steady_clock::time_point asked_at;
        {
            std::unique_lock lock(mutex_);
            asked_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
            if (stopping_) return;
            now = std::exchange(pending_, {});
            asked_at = asked_at_;
        }
        look(now);
        const auto took = std::chrono::steady_clock::now() - asked_at;
        const std::lock_guard lock(mutex_);
        ++stats_.runs;
        stats_.last_us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    }
}

void Judge::look(const std::vector<std::shared_ptr<const base::Netns>>& namespaces) {
    const auto home = base::Netns::current();
    if (!home) return;
    for (const auto& netns : namespaces) {
        const auto judged = destroyer_.judge(*netns, *home);
        if (!judged || judged->failed != 0) {
            WARREN_LOG(kPolicy, base::log::Level::Error, "connections that policy denies now may still be open",
                       {"error", judged ? judged->error : judged.error().message()});
        }
        if (!judged) continue;
        const std::lock_guard lock(mutex_);
        stats_.ended += judged->ended;
        stats_.failed += judged->failed;
        if (judged->ended != 0) {
            WARREN_LOG(kPolicy, base::log::Level::Info, "open connections ended: policy denies them now", {"count", judged->ended});
        }
    }
}

JudgeStats Judge::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

}  // namespace warren::node
