// SPDX-License-Identifier: Apache-2.0
// Readiness: what the process still waits for (data-plane contract 3.8, 9.6): tasks that are done once, and conditions that are asked at
// every probe and may turn false again (trap 33). Any thread. The registry outlives its tasks and whatever its conditions use outlives it.
#pragma once

#include "base/clock.h"
#include "base/http_request.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace warren::base {

class Readiness {
  public:
    // Pending until done() or destroyed. Names of the contract: "state manager", "proxy", "dns proxy".
    class Task {
      public:
        Task(Readiness& readiness, std::string name) : readiness_(&readiness), name_(std::move(name)) {}
        ~Task() { done(); }
        Task(const Task&) = delete;
        Task& operator=(const Task&) = delete;
        void done();

      private:
        Readiness* readiness_;  // null: done
        const std::string name_;
    };
    [[nodiscard]] std::unique_ptr<Task> expect(std::string name);
    // Pending while ready() is false; "workload proxy manager". Called on the probe's thread: it must not wait.
    void watch(std::string name, std::function<bool()> ready);

    [[nodiscard]] std::vector<std::string> pending() const;  // sorted, each once

  private:
    mutable std::mutex mutex_;
    std::multiset<std::string> tasks_;
    std::vector<std::pair<std::string, std::function<bool()>>> conditions_;
};

// GET /healthz/ready.
[[nodiscard]] HttpResponse readiness_response(const HttpRequest& request, const Readiness& readiness);

// Do the worker threads still turn? The reference answers probes on them, so that a stuck data plane fails the probe; here a thread is
// stuck when its count of batches has stood still for `patience` (a worker's own timer turns it five times a second). Any one thread.
class Pulse {
  public:
    using Batches = std::function<std::vector<uint64_t>()>;  // by worker
    Pulse(Batches batches, const Clock& clock, std::chrono::milliseconds patience = std::chrono::seconds(5))
        : batches_(std::move(batches)), clock_(clock), patience_(patience) {}
    [[nodiscard]] bool alive();

  private:
    struct Seen {
        uint64_t batches = 0;
        MonoTime since;
    };
    const Batches batches_;
    const Clock& clock_;
    const std::chrono::milliseconds patience_;
    std::vector<Seen> seen_;
};

}  // namespace warren::base
