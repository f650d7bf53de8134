// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/pod_manager.h"

namespace warren::ztunnel {

namespace {

bool same_place(const PodInfo& a, const PodInfo& b) {
    return a.netns.has_value() == b.netns.has_value() && (!a.netns || *a.netns == *b.netns);
}

}  // namespace

void PodManager::session_started() {
    const std::lock_guard lock(mutex_);
    named_.clear();
    waiting_.clear();
    synced_ = false;
    connected_ = true;
    count();
}

base::Result<void> PodManager::add(std::shared_ptr<const PodInfo> pod) {
    if (!synced_) named_.insert(pod->uid);
    if (auto found = running_.find(pod->uid); found != running_.end()) {
        if (same_place(*found->second, *pod)) return {};
        stop(pod->uid);
    }
    auto started = runner_.start(pod);
    const std::lock_guard lock(mutex_);
    if (started) {
        running_[pod->uid] = pod;
        waiting_.erase(pod->uid);
        ++started_;
    } else {
        waiting_[pod->uid] = pod;
    }
    count();
    return started;
}

base::Result<void> PodManager::keep(const std::string& uid) {
    if (synced_) return base::Error{base::Errc::Protocol, 0, "", "KeepWorkload after SnapshotSent"};
    named_.insert(uid);
    return {};
}

base::Result<void> PodManager::snapshot_sent() {
    if (synced_) return base::Error{base::Errc::Protocol, 0, "", "a second SnapshotSent"};
    std::vector<std::string> gone;
    for (const auto& [uid, pod] : running_)
        if (!named_.contains(uid)) gone.push_back(uid);
    for (const std::string& uid : gone) stop(uid);
    named_.clear();
    synced_ = true;
    return {};
}

void PodManager::remove(const std::string& uid) {
    {
        const std::lock_guard lock(mutex_);
        waiting_.erase(uid);
        count();
    }
    if (!synced_) {
        named_.erase(uid);  // the actual stop is SnapshotSent's
        return;
    }
    stop(uid);
}

void PodManager::stop(const std::string& uid) {
    if (!running_.contains(uid)) return;
    runner_.stop(uid);
    const std::lock_guard lock(mutex_);
    running_.erase(uid);
    ++stopped_;
    count();
}

void PodManager::retry_pending() {
    const auto again = waiting_;
    for (const auto& [uid, pod] : again) {
        if (!runner_.start(pod)) continue;
        const std::lock_guard lock(mutex_);
        running_[uid] = pod;
        waiting_.erase(uid);
        ++started_;
        count();
    }
}

void PodManager::count() {
    active_count_ = running_.size();
    pending_count_ = waiting_.size();
}

std::vector<PodState> PodManager::states() const {
    const std::lock_guard lock(mutex_);
    std::vector<PodState> out;
    for (const auto& [uid, pod] : running_) out.push_back({pod, true});
    for (const auto& [uid, pod] : waiting_) out.push_back({pod, false});
    return out;
}

}  // namespace warren::ztunnel
