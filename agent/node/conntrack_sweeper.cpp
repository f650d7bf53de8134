// SPDX-License-Identifier: Apache-2.0
#include "agent/node/conntrack_sweeper.h"

#include "agent/node/conntrack.h"
#include "base/log.h"

#include <algorithm>
#include <chrono>

namespace warren::node {
namespace {

const base::log::Area kLog("conntrack");

using std::chrono::steady_clock;

// Entries of ended connections live for two minutes (nf_conntrack_tcp_timeout_time_wait); what goes on after that ends now and then.
constexpr auto kOften = std::chrono::minutes(3), kLongest = std::chrono::minutes(60);
constexpr auto kGather = std::chrono::milliseconds(200), kSoon = std::chrono::milliseconds(1000),
               kSeldom = std::chrono::milliseconds(30'000);

}  // namespace

ConntrackSweeper::ConntrackSweeper() : thread_([this] { run(); }) {}

ConntrackSweeper::~ConntrackSweeper() {
    {
        const std::lock_guard lock(mutex_);
        end_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void ConntrackSweeper::captured(const std::vector<base::IpAddr>& addresses) {
    const std::lock_guard lock(mutex_);
    for (const base::IpAddr& ip : addresses) fresh_ |= watched_.try_emplace(ip, steady_clock::now()).second;
    if (fresh_) changed_.notify_all();
}

void ConntrackSweeper::left(const std::vector<base::IpAddr>& addresses) {
    const std::lock_guard lock(mutex_);
    for (const base::IpAddr& ip : addresses) watched_.erase(ip);
}

ConntrackSweeper::Status ConntrackSweeper::status() const {
    const std::lock_guard lock(mutex_);
    Status out = status_;
    out.watched = watched_.size();
    return out;
}

void ConntrackSweeper::run() {
    std::unique_lock lock(mutex_);
    while (!end_) {
        if (watched_.empty()) {
            changed_.wait(lock, [this] { return end_ || !watched_.empty(); });
            continue;
        }
        const auto youngest =
            std::max_element(watched_.begin(), watched_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
        const auto pause = steady_clock::now() - youngest->second < kOften ? kSoon : kSeldom;
        if (!fresh_) changed_.wait_for(lock, pause, [this] { return end_ || fresh_; });
        // A rollout's pods are one look.
        if (fresh_) changed_.wait_for(lock, kGather, [this] { return end_; });
        if (!end_) look(lock);
    }
}

void ConntrackSweeper::look(std::unique_lock<std::mutex>& lock) {
    fresh_ = false;
    std::vector<base::IpAddr> sources;
    for (const auto& [ip, since] : watched_) sources.push_back(ip);
    lock.unlock();
    const auto counts = forget_ended(sources);
    lock.lock();
    ++status_.looks;
    status_.error.clear();
    if (!counts) {
        ++status_.failures;
        status_.error = counts.error().message();
        WARREN_LOG(kLog, base::log::Level::Info, "connection tracking is not looked at", {"error", status_.error});
        return watched_.clear();  // as it is without: what has ended goes by itself
    }
    status_.forgotten += counts->forgotten;
    if (counts->forgotten > 0)
        WARREN_LOG(kLog, base::log::Level::Info, "ended connections from before a pod was captured are forgotten",
                   {"entries", counts->forgotten}, {"open", counts->left});
    const auto now = steady_clock::now();
    const bool done = counts->left == 0;
    std::erase_if(watched_, [&](const auto& one) {
        const bool looked_at = std::binary_search(sources.begin(), sources.end(), one.first);
        return looked_at && (now - one.second > kLongest || (done && now - one.second > kSoon));
    });
}

}  // namespace warren::node
