// SPDX-License-Identifier: Apache-2.0
// CniServer: where the CNI plugin asks (agent/cni/protocol.h). A thread that accepts and some that answer, each question within its own
// deadline; a bounded queue between them. The peer is root by SO_PEERCRED, as the runtime is; anybody else is refused unread.
//
// start and the destructor belong to one thread; the decider is called on several and outlives the server.
#pragma once

#include "agent/cni/protocol.h"
#include "agent/node/unix_listener.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/netns.h"
#include "base/result.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace warren::node {

class CniDecider {
  public:
    virtual ~CniDecider() = default;
    // Blocks until the deadline at most. netns: null when none came along.
    virtual cni::Answer add(const cni::Question& question, std::shared_ptr<const base::Netns> netns, base::MonoTime deadline) = 0;
    virtual void del(const cni::Question& question) = 0;
    // From now on, and for those who wait, the answer is Later.
    virtual void give_up() = 0;
};

struct CniServerOptions {
    std::string path;
    size_t workers = 16;  // pods that are being captured at once; the kubelet starts some ten at a time
    size_t queue = 256;
    std::chrono::milliseconds receive{1000};  // a plugin sends its question as soon as it is connected
    std::chrono::milliseconds most{30'000};   // whatever patience the question claims
};

struct CniServerStats {
    uint64_t questions = 0, passed = 0, captured = 0, later = 0, ended = 0;
    uint64_t refused_peers = 0, refused_full = 0, malformed = 0, timeouts = 0;
};

class CniServer {
  public:
    static base::Result<std::unique_ptr<CniServer>> start(CniServerOptions options, CniDecider& decider);
    ~CniServer();
    CniServer(const CniServer&) = delete;
    CniServer& operator=(const CniServer&) = delete;

    [[nodiscard]] CniServerStats stats() const;  // any thread

  private:
    CniServer(CniServerOptions options, CniDecider& decider, UnixListener listener, base::Fd wake);
    void accept_all();
    void serve();
    void answer(const base::Fd& peer);
    void count(uint64_t CniServerStats::* what);

    const CniServerOptions options_;
    CniDecider& decider_;
    UnixListener listener_;
    const base::Fd wake_;
    mutable std::mutex mutex_;
    std::condition_variable waiting_;
    std::deque<base::Fd> queue_;
    CniServerStats stats_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace warren::node
