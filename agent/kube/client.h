// SPDX-License-Identifier: Apache-2.0
// Client: single requests to an API server, blocking, each within its deadline. Any number of threads; connections are kept for reuse.
// A failed request is not repeated here: only the caller knows whether that is safe.
#pragma once

#include "agent/kube/endpoint.h"
#include "agent/kube/resource.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace warren::kube {

struct ClientStats {
    uint64_t requests = 0;
    uint64_t failures = 0;  // no answer
    uint64_t refusals = 0;  // an answer that is no success
};

class Client {
  public:
    explicit Client(std::shared_ptr<Endpoint> endpoint, Limits limits = {}) : endpoint_(std::move(endpoint)), limits_(limits) {}

    // The answer, whatever its status; an error when there was none.
    base::Result<Reply> exchange(const Request& request);
    // The body of a success; other answers are errors (error_of).
    base::Result<std::string> call(const Request& request);

    base::Result<std::string> get(std::string path) { return call({.path = std::move(path)}); }
    // Server-side apply: creates the object or makes these fields what they are here, taking them over from others; without force, one
    // that another owns with another value is an error, Errc::Exists, and nothing is written.
    enum class Force : uint8_t { No, Yes };
    base::Result<std::string> apply(std::string path, std::string json, std::string_view field_manager, Force force = Force::Yes);
    // JSON merge patch (RFC 7396).
    base::Result<std::string> merge(std::string path, std::string json);

    // Requests under way fail within a second, later ones at once. For good.
    void stop() { stopping_.store(true); }
    [[nodiscard]] ClientStats stats() const;
    [[nodiscard]] const std::shared_ptr<Endpoint>& endpoint() const { return endpoint_; }

  private:
    static constexpr size_t kMaxIdle = 4;  // connections kept

    const std::shared_ptr<Endpoint> endpoint_;
    const Limits limits_;
    std::atomic<bool> stopping_ = false;
    std::atomic<uint64_t> requests_ = 0, failures_ = 0, refusals_ = 0;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Transfer>> idle_;
};

}  // namespace warren::kube
