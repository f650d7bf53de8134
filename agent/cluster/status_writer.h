// SPDX-License-Identifier: Apache-2.0
// Puts what authors are told (conversion.h) into the status of their objects (Kubernetes contract 2.9).
#pragma once

#include "agent/cluster/conversion.h"
#include "agent/kube/client.h"
#include "agent/kube/gateway_status.h"
#include "base/backoff.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace warren::cluster {

// Writes what changed, one object after the other, while leading; a new leader looks at each once, and everyone again every ten minutes:
// somebody else may have written, or a backup was restored. What fails waits, for longer each time, and holds up nothing else. An object
// that was removed and made again is another one. start, stop and the destructor belong to one owner; update to any thread, and it does
// not block.
class StatusWriter {
  public:
    // The client outlives it. leading: asked before each write.
    StatusWriter(kube::Client& client, std::function<bool()> leading) : client_(client), leading_(std::move(leading)) {}
    ~StatusWriter();

    void start();
    void stop();
    void update(std::vector<StatusChange> changes);

    struct Stats {
        uint64_t writes = 0, errors = 0;
        uint64_t left = 0;  // to another controller, which owns what we would write
        size_t waiting = 0;
        std::string last_error;
    };
    [[nodiscard]] Stats stats() const;

  private:
    using Clock = std::chrono::steady_clock;
    using Key = std::pair<ObjectKind, std::string>;  // "NS/NAME"
    struct Wanted {
        std::string uid;
        int64_t generation = 0;
        std::vector<kube::Condition> conditions;
        GatewayDetails gateway;
        bool written = false;
        uint64_t version = 0;  // of what is wanted; what was under way when it changed is not it
        Clock::time_point not_before{};
        base::Backoff backoff{base::Backoff::Mode::Exponential, std::chrono::seconds(4), std::chrono::minutes(5)};
    };
    void want(StatusChange&& change);
    void run();
    void write_all(std::unique_lock<std::mutex>& lock);
    base::Result<kube::Applied> write(const Key& key, const Wanted& wanted);
    void wrote(const Key& key, uint64_t version, const base::Result<kube::Applied>& done);

    kube::Client& client_;
    const std::function<bool()> leading_;
    base::RandomEngine random_ = base::make_random_engine();  // of the writer's thread
    std::thread thread_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false, dirty_ = false;
    bool failing_ = false;  // the last write did, and the log says so
    uint64_t versions_ = 0;
    std::map<Key, Wanted> wanted_;  // bounded by how many objects are told something
    Stats stats_;
};

}  // namespace warren::cluster
