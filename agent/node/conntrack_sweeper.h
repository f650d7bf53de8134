// SPDX-License-Identifier: Apache-2.0
// ConntrackSweeper: keeps the node's connection tracking free of what pods did before they were captured (conntrack.h says why). A thread
// of its own, for a large table takes the kernel a while to tell. A pod is looked at when it is captured and a second later, then every
// second for as long as it has translated connections that are open, more seldom past kOften, and at most for kLongest. Most pods are
// captured before their first connection: two looks, shared by all pods of a rollout, and no more. What a look reads is bounded, and the
// thread rests for twenty times as long as a look took: however large the table, it has no more than a twentieth of a core.
//
// captured() and left() are for one thread; status() for any.
#pragma once

#include "agent/node/conntrack.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/result.h"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace warren::node {

class ConntrackSweeper {
  public:
    struct Status {
        uint64_t looks = 0, forgotten = 0, failures = 0;
        uint64_t cut = 0;          // looks that ended at their bound: there may have been more to forget
        uint64_t rows = 0;         // read, since the start
        uint64_t last_us = 0;      // the latest look
        size_t watched = 0;        // addresses
        bool unavailable = false;  // this kernel has none, or does not let us: never asked again
        std::string error;         // of the last look; empty: it worked, or there was none yet
    };

    explicit ConntrackSweeper(ConntrackLimits limits = {});
    ~ConntrackSweeper();
    ConntrackSweeper(const ConntrackSweeper&) = delete;
    ConntrackSweeper& operator=(const ConntrackSweeper&) = delete;

    // Also again for a pod that is captured already: only addresses that are new count.
    void captured(const std::vector<base::IpAddr>& addresses);
    void left(const std::vector<base::IpAddr>& addresses);
    [[nodiscard]] Status status() const;

  private:
    void run();
    void look(std::unique_lock<std::mutex>& lock);

    const ConntrackLimits limits_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::set<base::IpAddr> captured_;
    std::map<base::IpAddr, base::MonoTime> watched_;  // of those, since when
    base::MonoTime rest_until_{};
    bool fresh_ = false;  // one came since the last look
    bool end_ = false;
    Status status_;
    std::thread thread_;
};

}  // namespace warren::node
