// SPDX-License-Identifier: Apache-2.0
// Daemon: the parts of warren-agent put together and taken apart in order. main() makes it after the settings were read and the signals
// blocked, and destroys it at the end: links and maps stay pinned, so traffic and policy go on without the agent.
#pragma once

#include "agent/node/agent_metrics.h"
#include "agent/node/flow_collector.h"
#include "agent/node/flow_hub.h"
#include "agent/node/flow_log.h"
#include "agent/node/flow_service.h"
#include "agent/node/kube_enrolment.h"
#include "agent/node/mesh_source.h"
#include "agent/node/node.h"
#include "agent/node/pod_file_source.h"
#include "agent/node/settings.h"
#include "base/file_watch.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "base/readiness.h"
#include "base/result.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace warren::node {

class Daemon {
  public:
    // ask_end is called on an admin thread: POST /quitquitquit.
    static base::Result<std::unique_ptr<Daemon>> start(const Settings& settings, std::function<void()> ask_end);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    [[nodiscard]] std::optional<AgentState> state() const;

  private:
    explicit Daemon(const Settings& settings) : settings_(settings) {}
    base::Result<void> start_node();
    base::Result<void> start_flows();
    base::Result<void> start_servers(std::function<void()> ask_end);
    base::HttpResponse admin(const base::HttpRequest& request, const std::function<void()>& ask_end) const;

    const Settings settings_;
    const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    base::metrics::Registry registry_;
    base::Readiness readiness_;
    std::unique_ptr<base::FileWatcher> watcher_;
    FlowHub hub_;
    std::unique_ptr<FlowCollector> flows_;
    std::unique_ptr<FlowLog> flow_log_;
    std::unique_ptr<FlowService> flow_service_;
    std::unique_ptr<Node> node_;
    std::thread node_thread_;
    std::unique_ptr<MeshSource> mesh_;
    std::unique_ptr<PodFileSource> pods_file_;  // one of the two
    std::unique_ptr<KubeEnrolment> kube_;
    std::unique_ptr<base::metrics::Registry::Subscription> metrics_;
    std::vector<std::unique_ptr<base::HttpServer>> servers_;  // last: they ask the others
};

// Takes everything of the instance out of the kernel: `warren-agent uninstall`.
[[nodiscard]] base::Result<void> uninstall(const Settings& settings);

}  // namespace warren::node
