// SPDX-License-Identifier: Apache-2.0
// Judge: ends open direct connections that their verdict rows no longer allow (trap 28: only those), within a second of the rows' change.
// One thread of its own, because it enters every pod's namespace and blocks there; requests while it runs are answered by one more run.
#pragma once

#include "agent/node/socket_destroyer.h"
#include "base/netns.h"
#include "base/result.h"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace warren::node {

struct JudgeStats {
    uint64_t runs = 0, ended = 0, failed = 0;
    uint64_t last_us = 0;  // from the request to the end of its run
};

class Judge {
  public:
    explicit Judge(SocketDestroyer destroyer);
    ~Judge();
    Judge(const Judge&) = delete;
    Judge& operator=(const Judge&) = delete;

    // Any thread. The namespaces of the pods whose connections may have lost their leave.
    void request(std::vector<std::shared_ptr<const base::Netns>> namespaces);
    [[nodiscard]] JudgeStats stats() const;

  private:
    void run();
    void look(const std::vector<std::shared_ptr<const base::Netns>>& namespaces);

    const SocketDestroyer destroyer_;
    mutable std::mutex mutex_;
    std::condition_variable asked_;
    std::vector<std::shared_ptr<const base::Netns>> pending_;
    std::chrono::steady_clock::time_point asked_at_;
    bool stopping_ = false;
    JudgeStats stats_;
    std::thread thread_;
};

}  // namespace warren::node
