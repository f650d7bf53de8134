// SPDX-License-Identifier: Apache-2.0
// ConntrackSweeper: keeps the node's connection tracking free of what pods did before they were captured (conntrack.h says why). A thread
// of its own, for a large table takes the kernel a while to tell. A pod is looked at when it is captured and a second later, then every
// second for as long as it has translated connections that are open, more seldom past kOften, and at most for kLongest. Most pods are
// captured before their first connection: two looks, shared by all pods of a rollout, and no more.
//
// captured() and left() are for one thread; status() for any.
#pragma once

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
        size_t watched = 0;  // addresses
        std::string error;   // of the last look; empty: it worked, or there was none yet
    };

    ConntrackSweeper();
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

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::set<base::IpAddr> captured_;
    std::map<base::IpAddr, base::MonoTime> watched_;  // of those, since when
    bool unavailable_ = false;                        // this kernel has none, or does not let us: never asked again
    bool fresh_ = false;                              // one came since the last look
    bool end_ = false;
    Status status_;
    std::thread thread_;
};

}  // namespace warren::node
