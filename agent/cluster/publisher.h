// SPDX-License-Identifier: Apache-2.0
// Publisher: a source's objects -> the wire model -> the xDS server, and which identities run on which node -> the certificate service.
// changed() on the source's thread; everything else on any. The identities of a workload are there before a node hears of it, and go
// after. The server and the workloads outlive it; the source is stopped before it ends.
#pragma once

#include "agent/cluster/conversion.h"
#include "agent/cluster/mesh_resources.h"
#include "agent/cluster/node_authorizer.h"
#include "agent/cluster/node_runs.h"
#include "agent/cluster/source.h"
#include "agent/xds/server.h"
#include "base/clock.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace warren::cluster {

class Publisher final : public SourceHandler {
  public:
    struct Parts {
        xds::Server* server = nullptr;
        NodeWorkloads* workloads = nullptr;
        const base::Clock* clock = nullptr;
        std::function<void(std::vector<StatusChange>)> statuses = {};  // may be empty
    };
    Publisher(Settings settings, bool with_workload_type, Parts parts)
        : parts_(std::move(parts)), runs_(settings.trust_domain), conversion_(std::move(settings)), resources_(with_workload_type) {}

    void changed(const Objects& objects, const std::vector<Change>& changes) override;

    struct Status {
        uint64_t publications = 0;
        size_t workloads = 0, services = 0, policies = 0;
        size_t bytes = 0;                                   // of all resources
        uint64_t resources_set = 0, resources_removed = 0;  // since the start
        base::WallTime published_at{};
        std::chrono::nanoseconds took{};  // the last conversion and encoding
        // What the conversion says of the objects as they are: where, what, and what to do.
        std::vector<std::string> errors, warnings;
        size_t error_count = 0, warning_count = 0;
    };
    [[nodiscard]] Status status() const;
    [[nodiscard]] xds::Snapshot snapshot() const;  // as published last

  private:
    void publish(const NodeRuns::Difference& runs);

    const Parts parts_;
    NodeRuns runs_;  // of the source's thread, as the next two
    Conversion conversion_;
    MeshResources resources_;
    mutable std::mutex mutex_;  // below
    Status status_;
    xds::Snapshot published_;
};

}  // namespace warren::cluster
