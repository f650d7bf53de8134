// SPDX-License-Identifier: Apache-2.0
// Leader election over a Lease of coordination.k8s.io (Kubernetes contract 5.6): who writes. Clocks of replicas are not compared: a lease
// has expired when it was seen unchanged for its duration here. start, stop and the destructor belong to one owner; leading and stats to
// any thread; the callback is called on the election's thread.
//
// leading() turns false by itself when the lease could not be renewed in time, before another can take it; a write that is under way at
// that moment may still arrive, so what leaders write must bear being written twice.
#pragma once

#include "agent/kube/client.h"
#include "base/backoff.h"
#include "base/clock.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace warren::kube {

// What the spec of a Lease says. Pure.
struct LeaseRecord {
    std::string holder;
    int64_t duration_s = 0;
    std::string renew_time;  // changes with every renewal; only ever compared
    std::string acquire_time;
    int64_t transitions = 0;
    std::string resource_version;
};
base::Result<LeaseRecord> parse_lease(std::string_view json);
[[nodiscard]] std::string lease_json(const std::string& ns, const std::string& name, const LeaseRecord& record);

struct LeaderOptions {
    std::string ns, name;
    std::string identity;  // the pod's name; no two alike
    std::chrono::milliseconds lease = std::chrono::seconds(30);
    std::chrono::milliseconds renew_deadline = std::chrono::seconds(15);  // below lease
    std::chrono::milliseconds retry = std::chrono::milliseconds(7'500);   // below renew_deadline
};

struct LeaderStats {
    bool leading = false;
    uint64_t acquired = 0, lost = 0, errors = 0;
    std::string holder, last_error;
};

class LeaderElection {
  public:
    // The client outlives it. The callback may be empty.
    LeaderElection(Client& client, LeaderOptions options, std::function<void(bool leading)> changed);
    ~LeaderElection();

    void start();
    void stop();  // gives the lease back
    [[nodiscard]] bool leading() const;
    [[nodiscard]] LeaderStats stats() const;

  private:
    void run();
    base::Result<bool> attempt(base::MonoTime now);
    base::Result<bool> write(Method method, LeaseRecord record);
    void release();
    void set(bool leading);
    [[nodiscard]] std::string path(bool collection) const;

    Client& client_;
    const LeaderOptions options_;
    const std::function<void(bool)> changed_;
    std::thread thread_;
    std::atomic<int64_t> leads_until_ns_ = 0;  // of the monotonic clock
    LeaseRecord seen_;                         // and when it was first seen so
    base::MonoTime seen_at_{};
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    LeaderStats stats_;
};

}  // namespace warren::kube
