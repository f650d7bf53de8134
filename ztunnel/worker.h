// SPDX-License-Identifier: Apache-2.0
// Worker: one data-plane thread with its loop, its buffers and its part of every pod. Nothing on the way of a byte is shared with
// another worker; what comes from outside (pods, snapshots, trust changes, drain) arrives through the loop's mailbox.
//
// Threads: start() and the other public calls belong to the manager's thread; everything else to the worker's own.
#pragma once

#include "base/loop.h"
#include "ztunnel/pod_proxy.h"

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace warren::ztunnel {

struct WorkerShared {
    const ProxySettings& settings;
    CertStore& certs;
    Traffic& traffic;
    const DnsService* dns = nullptr;  // for the first worker
    HostResolver* resolver = nullptr;
    OnDemand* on_demand = nullptr;
};

struct WorkerLoad {
    base::LoopStats loop;
    size_t chunks_out = 0;
    uint64_t chunks_refused = 0, handshakes_refused = 0;
    size_t connections = 0, streams = 0, descriptors = 0;
    size_t buffered_bytes = 0;  // wait for applications that do not read
    size_t pooled_tunnels = 0;
    PodCounts counts;
};

class Worker {
  public:
    static base::Result<std::unique_ptr<Worker>> start(const WorkerShared& shared, std::shared_ptr<const policy::Snapshot> snapshot,
                                                       uint64_t seed);
    ~Worker();

    // Each returns when the worker has done it, or with an error after `patience`.
    base::Result<void> add_pod(std::shared_ptr<const PodInfo> pod);
    void remove_pod(const std::string& uid);
    void set_snapshot(std::shared_ptr<const policy::Snapshot> snapshot);
    void trust_changed();
    [[nodiscard]] base::Result<std::vector<HeldListener>> hold_listeners();
    // Listeners close, tunnels say GOAWAY; then wait for idle().
    void drain();
    [[nodiscard]] bool idle() const { return busy_.load(std::memory_order_relaxed) == 0; }
    void cut_all(const std::string& why);
    [[nodiscard]] WorkerLoad load() const;
    [[nodiscard]] base::Loop& loop() { return *loop_; }

  private:
    Worker(const WorkerShared& shared, std::unique_ptr<base::Loop> loop, base::Netns home, std::shared_ptr<const policy::Snapshot> snapshot,
           uint64_t seed);
    void run();
    void measure();
    template <class T>
    base::Result<T> ask(std::function<base::Result<T>()> question);

    std::unique_ptr<base::Loop> loop_;
    base::Netns home_;
    ChunkPool chunks_;
    policy::Random random_;
    WorkerContext context_;
    std::map<std::string, std::unique_ptr<PodProxy>> pods_;
    base::Timer measure_;
    std::atomic<size_t> busy_ = 0;   // for idle(), which waits for nothing
    PodCounts gone_;                 // of pods that have left
    mutable std::mutex load_mutex_;  // taken five times a second
    WorkerLoad load_;
    std::thread thread_;
};

}  // namespace warren::ztunnel
