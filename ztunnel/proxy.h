// SPDX-License-Identifier: Apache-2.0
// Proxy: the data plane of one node as a whole: its workers, the pods on them, and the mesh they route by. What arrives (pods from ZDS,
// changes from a file or xDS, certificates that rotate) goes in here and reaches every worker.
//
// Threads: start()/stop() of pods belong to the ZDS thread; the rest may be called from any.
#pragma once

#include "policy/mesh_feed.h"
#include "policy/snapshot.h"
#include "ztunnel/cert_store.h"
#include "ztunnel/pod_manager.h"
#include "ztunnel/proxy_settings.h"
#include "ztunnel/worker.h"

#include <atomic>
#include <map>
#include <memory>
#include <vector>

namespace warren::ztunnel {

class Proxy final : public PodRunner {
  public:
    // threads: at least 1. What is shared outlives the proxy.
    static base::Result<std::unique_ptr<Proxy>> start(const WorkerShared& shared, size_t threads);
    ~Proxy() override;

    // -- the mesh
    [[nodiscard]] policy::MeshFeed& feed() { return feed_; }
    [[nodiscard]] std::shared_ptr<const policy::Snapshot> snapshot() const { return feed_.snapshot(); }

    // -- pods
    base::Result<void> start(std::shared_ptr<const PodInfo> pod) override;
    void stop(const std::string& uid) override;

    // -- the end. Where another tunnel listens beside us, SYNs go to it first and what had begun is taken; then listeners close and peers
    // hear GOAWAY; true when every connection has finished before the deadline, else they are cut.
    bool drain(std::chrono::steady_clock::time_point deadline);

    [[nodiscard]] std::vector<WorkerLoad> loads() const;

  private:
    Proxy(const ProxySettings& settings, CertStore& certs);
    void publish(const std::shared_ptr<const policy::Snapshot>& snapshot);
    class Handovers;
    void follow_identities(const policy::Batch& batch);

    const ProxySettings& settings_;
    CertStore& certs_;
    policy::MeshFeed feed_;
    std::shared_ptr<const policy::Snapshot> published_;  // under the feed's lock
    // Identities of this node's workloads by uid, to know whose certificate nobody needs any more.
    std::map<std::string, policy::Identity, std::less<>> local_identities_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace warren::ztunnel
