// SPDX-License-Identifier: Apache-2.0
// Daemon: warren-ztunnel put together from its parts, in the order in which they need each other, and taken apart in reverse. Belongs to
// main's thread. What may fail fails here, with the setting to blame, before anything serves.
#pragma once

#include "base/clock.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "base/readiness.h"
#include "base/result.h"
#include "ztunnel/admin.h"
#include "ztunnel/cert_store_threads.h"
#include "ztunnel/crl_watcher.h"
#include "ztunnel/flow_feed.h"
#include "ztunnel/mesh_file.h"
#include "ztunnel/on_demand.h"
#include "ztunnel/pod_manager.h"
#include "ztunnel/process_metrics.h"
#include "ztunnel/proxy.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic_recorder.h"
#include "ztunnel/zds_client.h"

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace warren::ztunnel {

class CaClient;
class FileSigner;
class MeshClient;
class MeshUpdates;

class Daemon {
  public:
    // quit: called (on an admin thread) when somebody asked the process to end.
    static base::Result<std::unique_ptr<Daemon>> start(const Settings& settings, std::function<void()> quit);
    ~Daemon();

    // Stops accepting, tells peers, waits for what runs until the deadline (contract 4.8). True: everything finished by itself.
    bool drain();
    // An error that came up after the start and ended the process.
    [[nodiscard]] base::Result<void> outcome() const;

  private:
    Daemon(const Settings& settings, std::function<void()> quit);
    base::Result<void> start_certificates();
    base::Result<void> start_names();
    base::Result<void> start_proxy();
    base::Result<void> start_self_proxy();
    base::Result<void> start_mesh();
    // Contract 3.8: once the mesh is there. Pods arrive, and are served, from then on.
    base::Result<void> open();
    void on_synced();
    base::Result<void> start_servers();
    [[nodiscard]] std::string dump() const;
    [[nodiscard]] ProcessSources process_sources();
    [[nodiscard]] std::vector<std::function<void(base::metrics::Collection&)>> store_metrics();

    const Settings& settings_;
    const std::function<void()> quit_;
    base::RealClock clock_;
    base::metrics::Registry registry_;
    base::Readiness readiness_;
    std::unique_ptr<base::FileWatcher> watcher_;       // roots, tokens, lists: quiet for two seconds (contract 2.6, 4.4)
    std::unique_ptr<base::FileWatcher> mesh_watcher_;  // the mesh: a policy is in force within a second
    std::unique_ptr<TrafficRecorder> traffic_;
    std::unique_ptr<FlowFeed> flows_;  // after the traffic it reads, before the workers that feed it
    std::unique_ptr<CertSigner> signer_;
    CaClient* ca_client_ = nullptr;  // signer_, where it is one
    std::vector<base::FileWatcher::Watch> node_watches_;
    FileSigner* file_signer_ = nullptr;  // the same
    std::unique_ptr<OwnedCertStore> certs_;
    std::unique_ptr<CrlWatcher> crl_;
    std::optional<DnsService> dns_;
    std::unique_ptr<OnDemand> on_demand_;  // null: the whole mesh is here
    std::unique_ptr<Proxy> proxy_;
    std::unique_ptr<HostResolver> resolver_;  // ends before the workers' loops that it answers
    std::unique_ptr<MeshFile> mesh_file_;
    std::unique_ptr<PodManager> pods_;
    mutable std::mutex opening_;  // of the next three: the mesh may be there while the process ends
    bool ending_ = false;
    base::Result<void> outcome_;
    std::unique_ptr<ZdsClient> zds_;
    std::unique_ptr<MeshUpdates> mesh_updates_;
    std::unique_ptr<MeshClient> mesh_client_;  // null: no control plane
    std::unique_ptr<base::metrics::Registry::Subscription> xds_metrics_;
    std::unique_ptr<base::Readiness::Task> waits_for_mesh_, waits_for_pods_;
    std::unique_ptr<base::Pulse> pulse_;
    std::unique_ptr<base::metrics::Registry::Subscription> process_metrics_;
    std::vector<std::unique_ptr<base::HttpServer>> servers_;  // last: they ask the others
};

}  // namespace warren::ztunnel
