// SPDX-License-Identifier: Apache-2.0
// An API server and who we are to it, shared by everything that speaks to it; and one HTTP exchange. HTTP/1.1: a watch has a connection of
// its own, so one slow kind holds up no other. Redirects are refused, a token goes nowhere else. libcurl stays inside.
#pragma once

#include "agent/kube/http.h"
#include "agent/kube/kube_config.h"
#include "base/clock.h"
#include "base/result.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace warren::kube {

// Any thread.
class Endpoint {
  public:
    static base::Result<std::shared_ptr<Endpoint>> create(KubeConfig config);

    [[nodiscard]] const KubeConfig& config() const { return config_; }
    // "" when there is none. A token file is read again after ten seconds, and after the server refused what it said; while it cannot be
    // read, its last content counts.
    base::Result<std::string> token();
    void token_refused();

  private:
    explicit Endpoint(KubeConfig config) : config_(std::move(config)) {}
    const KubeConfig config_;
    std::mutex mutex_;
    std::string cached_;
    base::MonoTime read_at_{};
};

// Gets the body of a success while it arrives; false ends the exchange.
class Receiver {
  public:
    virtual ~Receiver() = default;
    virtual void on_open() {}  // the head of a success, before its body
    virtual bool on_data(std::string_view bytes) = 0;
};

// One exchange at a time, any number one after the other (connections are kept). One thread at a time.
class Transfer {
  public:
    explicit Transfer(std::shared_ptr<Endpoint> endpoint);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    // Request and receiver outlive the exchange. Within a second of *stop becoming true the exchange fails.
    base::Result<void> prepare(const Request& request, const Limits& limits, Receiver* receiver = nullptr,
                               const std::atomic<bool>* stop = nullptr);
    base::Result<Reply> perform();  // blocks for the total limit at most
    // For a caller with a curl_multi of its own: the handle (CURL*), and the outcome (CURLcode) once that says so.
    [[nodiscard]] void* handle() const;
    base::Result<Reply> finish(int code);

    struct Impl;

  private:
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::kube
