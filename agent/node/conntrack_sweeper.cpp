// SPDX-License-Identifier: Apache-2.0
#include "agent/node/conntrack_sweeper.h"

#include "base/log.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace warren::node {
namespace {

const base::log::Area kLog("conntrack");

using std::chrono::steady_clock;

// Entries of ended connections live for two minutes (nf_conntrack_tcp_timeout_time_wait); what goes on after that ends now and then.
constexpr auto kOften = std::chrono::minutes(3), kLongest = std::chrono::minutes(60);
constexpr auto kGather = std::chrono::milliseconds(200), kSoon = std::chrono::milliseconds(1000),
               kSeldom = std::chrono::milliseconds(30'000);
constexpr int kRest = 20;  // times the duration of the look before

// The kernel has no ctnetlink, or does not let us: no other answer is to come.
bool is_final(int os) { return os == EPROTONOSUPPORT || os == EINVAL || os == EOPNOTSUPP || os == EPERM; }

}  // namespace

ConntrackSweeper::ConntrackSweeper(ConntrackLimits limits) : limits_(limits), thread_([this] { run(); }) {}

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
    if (status_.unavailable) return;
    for (const base::IpAddr& ip : addresses) {
        if (!captured_.insert(ip).second) continue;
        watched_.insert_or_assign(ip, steady_clock::now());
        fresh_ = true;
    }
    if (fresh_) changed_.notify_all();
}

void ConntrackSweeper::left(const std::vector<base::IpAddr>& addresses) {
    const std::lock_guard lock(mutex_);
    for (const base::IpAddr& ip : addresses) {
        captured_.erase(ip);
        watched_.erase(ip);
    }
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
        if (!fresh_) changed_.wait_until(lock, std::max(rest_until_, steady_clock::now() + pause), [this] { return end_ || fresh_; });
        // A rollout's pods are one look.
        if (fresh_) changed_.wait_until(lock, std::max(rest_until_, steady_clock::now() + kGather), [this] { return end_; });
        if (!end_) look(lock);
    }
}

void ConntrackSweeper::look(std::unique_lock<std::mutex>& lock) {
    fresh_ = false;
    std::vector<base::IpAddr> sources;
    for (const auto& [ip, since] : watched_) sources.push_back(ip);
    lock.unlock();
    const auto begun = steady_clock::now();
    const auto counts = forget_ended(sources, limits_);
    const auto now = steady_clock::now();
    lock.lock();
    rest_until_ = now + kRest * (now - begun);
    ++status_.looks;
    status_.last_us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now - begun).count());
    status_.error.clear();
    const auto let_go = [&](auto&& done) {
        std::erase_if(watched_, [&](const auto& one) {
            const bool looked_at = std::binary_search(sources.begin(), sources.end(), one.first);
            return looked_at && (now - one.second > kLongest || (now - one.second > kSoon && done(one.first)));
        });
    };
    if (!counts) {
        ++status_.failures;
        status_.error = counts.error().message();
        status_.unavailable = is_final(counts.error().os);
        WARREN_LOG(kLog, status_.unavailable ? base::log::Level::Warn : base::log::Level::Info,
                   status_.unavailable
                       ? "no connection tracking that may be asked: is nf_conntrack_netlink there? What pods did before they "
                         "were captured stays there for its two minutes"
                       : "connection tracking was not looked at; again soon",
                   {"error", status_.error});
        if (status_.unavailable) watched_.clear();  // what has ended goes by itself, in two minutes
        return let_go([](base::IpAddr) { return false; });
    }
    status_.forgotten += counts->forgotten;
    status_.rows += counts->rows;
    if (counts->forgotten > 0)
        WARREN_LOG(kLog, base::log::Level::Info, "ended connections from before a pod was captured are forgotten",
                   {"entries", counts->forgotten}, {"pods_with_open_ones", counts->open.size()});
    if (counts->cut) {
        // The first of a large table and no word of the rest: it may have anybody's.
        if (status_.cut++ == 0)
            WARREN_LOG(kLog, base::log::Level::Warn,
                       "connection tracking has more entries than a look reads; some from before a pod was captured may stay there for two "
                       "minutes after their end",
                       {"read", counts->rows}, {"pods", sources.size()});
        return let_go([](base::IpAddr) { return false; });
    }
    let_go([&](base::IpAddr ip) { return !std::binary_search(counts->open.begin(), counts->open.end(), ip); });
}

}  // namespace warren::node
