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
#include "ztunnel/pod_manager.h"
#include "ztunnel/process_metrics.h"
#include "ztunnel/proxy.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic_recorder.h"
#include "ztunnel/zds_client.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace warren::ztunnel {

class CaClient;
class FileSigner;

class Daemon {
  public:
    // quit: called (on an admin thread) when somebody asked the process to end.
    static base::Result<std::unique_ptr<Daemon>> start(const Settings& settings, std::function<void()> quit);
    ~Daemon();

    // Stops accepting, tells peers, waits for what runs until the deadline (contract 4.8). True: everything finished by itself.
    bool drain();

  private:
    explicit Daemon(const Settings& settings) : settings_(settings) {}
    base::Result<void> start_certificates();
    base::Result<void> start_names();
    base::Result<void> start_proxy();
    base::Result<void> start_pods();
    base::Result<void> start_self_proxy();
    base::Result<void> start_servers(std::function<void()> quit);
    [[nodiscard]] std::string dump() const;
    [[nodiscard]] ProcessSources process_sources();
    [[nodiscard]] std::vector<std::function<void(base::metrics::Collection&)>> store_metrics();

    const Settings& settings_;
    base::RealClock clock_;
    base::metrics::Registry registry_;
    base::Readiness readiness_;
    std::unique_ptr<base::FileWatcher> watcher_;       // roots, tokens, lists: quiet for two seconds (contract 2.6, 4.4)
    std::unique_ptr<base::FileWatcher> mesh_watcher_;  // the mesh: a policy is in force within a second
    std::unique_ptr<TrafficRecorder> traffic_;
    std::unique_ptr<FlowFeed> flows_;  // after the traffic it reads, before the workers that feed it
    std::unique_ptr<CertSigner> signer_;
    CaClient* ca_client_ = nullptr;      // signer_, where it is one
    FileSigner* file_signer_ = nullptr;  // the same
    std::unique_ptr<OwnedCertStore> certs_;
    std::unique_ptr<CrlWatcher> crl_;
    std::optional<DnsService> dns_;
    std::unique_ptr<Proxy> proxy_;
    std::unique_ptr<HostResolver> resolver_;  // ends before the workers' loops that it answers
    std::unique_ptr<MeshFile> mesh_file_;
    std::unique_ptr<PodManager> pods_;
    std::unique_ptr<ZdsClient> zds_;
    std::unique_ptr<base::Pulse> pulse_;
    std::unique_ptr<base::metrics::Registry::Subscription> process_metrics_;
    std::vector<std::unique_ptr<base::HttpServer>> servers_;  // last: they ask the others
};

}  // namespace warren::ztunnel
