// SPDX-License-Identifier: Apache-2.0
// Watcher: any number of kinds kept in step with an API server, on one thread. The handler is called on that thread. create, start, stop
// and the destructor belong to one owner (never the handler); synced and stats to any thread.
#pragma once

#include "agent/kube/endpoint.h"
#include "agent/kube/reflector.h"
#include "base/result.h"

#include <memory>
#include <vector>

namespace warren::kube {

class Watcher {
  public:
    // The handler outlives the watcher.
    static base::Result<std::unique_ptr<Watcher>> create(std::shared_ptr<Endpoint> endpoint, std::vector<WatchSpec> specs,
                                                         const ReflectorOptions& options, Handler& handler);
    ~Watcher();

    void start();
    // Ends all exchanges and the thread; no call of the handler afterwards. For good.
    void stop();

    [[nodiscard]] bool synced() const;                        // every kind was listed, or is missing
    [[nodiscard]] std::vector<ReflectorStats> stats() const;  // by kind; at most a quarter of a second old

  private:
    struct Impl;
    explicit Watcher(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::kube
