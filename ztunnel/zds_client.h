// SPDX-License-Identifier: Apache-2.0
// ZdsClient: the connection to the node agent that announces pods (data-plane contract 8.1, 8.3): a SOCK_SEQPACKET Unix socket, strictly
// request and answer, reconnected for ever with back-off. One blocking thread of its own.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "ztunnel/pod_manager.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>

namespace warren::ztunnel {

class ZdsClient {
  public:
    // stop_fd of the returned client wakes the thread; the manager must outlive it.
    static base::Result<std::unique_ptr<ZdsClient>> start(std::string path, PodManager& manager);
    ~ZdsClient();
    [[nodiscard]] uint64_t sessions() const { return sessions_; }
    [[nodiscard]] uint64_t protocol_errors() const { return protocol_errors_; }

  private:
    ZdsClient(std::string path, PodManager& manager, base::Fd stop) : path_(std::move(path)), manager_(manager), stop_(std::move(stop)) {}
    void run();
    base::Result<base::Fd> connect();
    base::Result<void> session(int fd);
    base::Result<void> one_packet(int fd);
    bool wait(int fd, int timeout_ms);  // false: time ran out or stopping

    std::string path_;
    PodManager& manager_;
    base::Fd stop_;
    std::atomic<bool> stopping_ = false;
    std::atomic<uint64_t> sessions_ = 0, protocol_errors_ = 0;
    std::thread thread_;
};

}  // namespace warren::ztunnel
