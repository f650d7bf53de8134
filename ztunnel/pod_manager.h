// SPDX-License-Identifier: Apache-2.0
// PodManager: which pods run here, by the rules of a ZDS session (data-plane contract 8.3): snapshot and what it does not name, idempotent
// adds, pods that could not be started and are tried again. Pure bookkeeping over an abstract PodRunner; belongs to the ZDS thread, the
// counts may be read from any.
#pragma once

#include "base/result.h"
#include "ztunnel/pod_proxy.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace warren::ztunnel {

// Starts and stops a pod on all workers.
class PodRunner {
  public:
    virtual ~PodRunner() = default;
    virtual base::Result<void> start(std::shared_ptr<const PodInfo> pod) = 0;
    // Immediate: everything of the pod is cut at once (contract 4.8).
    virtual void stop(const std::string& uid) = 0;
};

struct PodState {
    std::shared_ptr<const PodInfo> pod;
    bool up = false;  // false: pending
};

class PodManager {
  public:
    explicit PodManager(PodRunner& runner) : runner_(runner) {}

    // A new session begins: names and pending pods of the old one are forgotten, running pods go on until the next snapshot.
    void session_started();
    void session_ended() { connected_ = false; }
    // An error is the text of the nack; the session continues.
    base::Result<void> add(std::shared_ptr<const PodInfo> pod);
    // Errors of these are protocol errors, which end the session.
    base::Result<void> keep(const std::string& uid);
    base::Result<void> snapshot_sent();
    void remove(const std::string& uid);
    // Tries pending pods again; call every few seconds.
    void retry_pending();

    // Connected, snapshot received, nothing pending (contract 8.3).
    [[nodiscard]] bool ready() const { return connected_ && synced_ && pending_count_ == 0; }
    [[nodiscard]] size_t active() const { return active_count_; }
    [[nodiscard]] size_t pending() const { return pending_count_; }
    [[nodiscard]] uint64_t started() const { return started_; }
    [[nodiscard]] uint64_t stopped() const { return stopped_; }
    [[nodiscard]] std::vector<PodState> states() const;

  private:
    void stop(const std::string& uid);
    void count();

    PodRunner& runner_;
    mutable std::mutex mutex_;  // of the two maps, for states()
    std::map<std::string, std::shared_ptr<const PodInfo>> running_;
    std::map<std::string, std::shared_ptr<const PodInfo>> waiting_;
    std::set<std::string> named_;  // by this session, before its SnapshotSent
    std::atomic<bool> connected_ = false, synced_ = false;
    std::atomic<size_t> active_count_ = 0, pending_count_ = 0;
    std::atomic<uint64_t> started_ = 0, stopped_ = 0;
};

}  // namespace warren::ztunnel
