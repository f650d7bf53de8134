// SPDX-License-Identifier: Apache-2.0
// A controller's view of an API server: the source, and what its objects convert to. For the test's thread.
#pragma once

#include "agent/cluster/convert.h"
#include "agent/cluster/kube_source.h"
#include "agent/cluster/to_json.h"
#include "tests/agent/kube/http_server.h"
#include "tests/kube/api_server.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>

namespace warren::tests {

using kube::eventually;

// Policies as sets, and without what the API server itself puts there.
inline nlohmann::json comparable(nlohmann::json mesh) {
    for (auto& workload : mesh["workloads"])
        if (workload.contains("authorizationPolicies"))
            std::sort(workload["authorizationPolicies"].begin(), workload["authorizationPolicies"].end());
    mesh["services"].erase("default/kubernetes.default.svc.cluster.local");
    return mesh;
}

class MeshAt : cluster::SourceHandler {
  public:
    explicit MeshAt(std::shared_ptr<kube::Endpoint> endpoint, unsigned page_size = 500) {
        cluster::KubeSourceOptions options;
        options.watch.page_size = page_size;
        options.watch.missing_poll = std::chrono::milliseconds(200);
        options.watch.missing_confirm = std::chrono::milliseconds(100);
        options.watch.backoff_base = std::chrono::milliseconds(50);
        options.watch.backoff_cap = std::chrono::milliseconds(500);
        auto made = cluster::KubeSource::create(std::move(endpoint), options);
        REQUIRE(made);
        source_ = std::move(*made);
        source_->start(*this);
    }
    ~MeshAt() override { source_->stop(); }

    [[nodiscard]] cluster::KubeSource& source() { return *source_; }
    [[nodiscard]] nlohmann::json now() {
        const std::lock_guard lock(mutex_);
        return mesh_;
    }
    // The condition holds of a state delivered.
    bool eventually(const std::function<bool(const nlohmann::json&)>& condition) {
        return kube::eventually(
            [&] {
                const std::lock_guard lock(mutex_);
                return delivered_ && condition(mesh_);
            },
            std::chrono::seconds(30));
    }
    nlohmann::json first() {
        REQUIRE(eventually([](const nlohmann::json&) { return true; }));
        return now();
    }

  private:
    void changed(const cluster::Objects& objects, const std::vector<cluster::Change>&) override {
        const cluster::Settings settings;
        cluster::Diagnostics problems;
        auto mesh = comparable(nlohmann::json::parse(cluster::to_json(cluster::convert(objects, settings, problems), settings)));
        const std::lock_guard lock(mutex_);
        mesh_ = std::move(mesh);
        delivered_ = true;
    }

    std::unique_ptr<cluster::KubeSource> source_;
    std::mutex mutex_;
    nlohmann::json mesh_;
    bool delivered_ = false;
};

}  // namespace warren::tests
