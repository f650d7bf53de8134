// SPDX-License-Identifier: Apache-2.0
// What authors are told in their objects' status (Kubernetes contract 2.9, 3.3, 3.5): condition ZtunnelAccepted of an AuthorizationPolicy,
// istio.io/WaypointBound of a Service, ServiceEntry or WorkloadEntry that names a waypoint; and the writer that puts them there. The same
// reading decides what is enforced, so the two cannot differ.
#pragma once

#include "agent/cluster/conversion.h"
#include "agent/kube/client.h"
#include "agent/kube/condition.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace warren::cluster {

// Nothing for a policy that is only for waypoints, or of another revision. Pure.
[[nodiscard]] std::optional<kube::Condition> policy_condition(const AuthorizationPolicy& policy, const Settings& settings);

// Writes what changed, one object after the other, while leading; a new leader looks at each once, and everyone again every ten minutes:
// somebody else may have written, or a backup was restored. An object that was removed and made again is another one. A condition of an
// object that names no waypoint any more is taken away by whoever knows of it: not after a restart in between. start, stop and the
// destructor belong to one owner; update to any thread, and it does not block.
class PolicyStatusWriter {
  public:
    // The client outlives it. leading: asked before each write.
    PolicyStatusWriter(kube::Client& client, std::function<bool()> leading) : client_(client), leading_(std::move(leading)) {}
    ~PolicyStatusWriter();

    void start();
    void stop();
    // As SourceHandler::changed: at the cost of the changed policies, of all of them when there are no changes.
    void update(const Objects& objects, std::span<const Change> changes, const Settings& settings);

    // What the conversion says of waypoints.
    void bound(std::vector<BoundChange> changes);

    struct Stats {
        uint64_t writes = 0, errors = 0;
        size_t waiting = 0;
        std::string last_error;
    };
    [[nodiscard]] Stats stats() const;

  private:
    struct Wanted {
        std::string uid;
        kube::Condition condition;
        bool written = false;
    };
    using Key = std::pair<ObjectKind, std::string>;  // "NS/NAME"
    void want(const Key& key, const std::string& uid, std::optional<kube::Condition> condition);
    void run();
    void write_all(std::unique_lock<std::mutex>& lock);

    kube::Client& client_;
    const std::function<bool()> leading_;
    std::thread thread_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false, dirty_ = false;
    std::map<Key, Wanted> wanted_;  // "NS/NAME": bounded by how many policies there are
    Stats stats_;
};

}  // namespace warren::cluster
