// SPDX-License-Identifier: Apache-2.0
// NodeJoin: this node's own certificate, outside of Kubernetes. Asked for with the bootstrap token when the file holds none, renewed with
// itself from half of its life on, kept in the file (agent/xds/join.h), shown on every stream to the control plane; the node's tunnel reads
// the same file. A failure is logged and retried, 1 s to 30 s apart; what there is goes on being shown meanwhile. When the control plane
// does not take the certificate any more, every second attempt is with the token, if there is one.
//
// A clock that is wrong moves no renewal past the certificate's life: half a life after it was issued is counted on the monotonic clock
// too, and a fresh one is let be for a quarter of its life (or half of what is left) whatever the wall clock makes of it.
//
// One thread of its own, which does the calls. start, stop and the destructor belong to one owner; proof() and status() to any thread.
// gRPC makes threads: start after the last fork(). The clock outlives it.
#pragma once

#include "agent/xds/join.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/result.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace warren::node {

struct NodeJoinStatus {
    std::string identity, file;
    bool joined = false;  // there is a certificate, and it has not expired
    base::WallTime not_before{}, not_after{}, renew_at{};
    uint64_t renewals = 0, failures = 0;  // certificates received, the first one too; attempts that failed
    std::string error;                    // of the last attempt; empty: it was good
};

class NodeJoin {
  public:
    // token_path: for messages; the token itself is in the options.
    NodeJoin(xds::JoinOptions options, std::string file, std::string token_path, const base::Clock& clock);
    ~NodeJoin();
    NodeJoin(const NodeJoin&) = delete;
    NodeJoin& operator=(const NodeJoin&) = delete;

    void start();
    // Ends a call under way and whoever waits for a proof. For good.
    void stop();
    // What to show on a new stream. Waits a while for the first certificate; an error says why there is none.
    [[nodiscard]] base::Result<xds::NodeProof> proof();
    [[nodiscard]] NodeJoinStatus status() const;

  private:
    void run();
    void take_kept();
    // Under the lock, as all that follows.
    [[nodiscard]] bool usable() const;
    [[nodiscard]] base::MonoTime due(base::MonoTime now) const;
    void take(xds::NodeCredential credential, bool fresh);
    void attempt(std::unique_lock<std::mutex>& lock);
    void failed(const base::Error& error, bool with_token);
    [[nodiscard]] std::string advice(const base::Error& error, bool with_token) const;

    const xds::JoinOptions options_;
    const std::string file_, token_path_;
    const base::Clock& clock_;
    base::RandomEngine random_ = base::make_random_engine();
    std::stop_source stop_;
    std::thread thread_;

    mutable std::mutex mutex_;  // all below
    std::condition_variable changed_;
    std::optional<xds::NodeCredential> credential_;
    NodeJoinStatus status_;
    base::Backoff backoff_{base::Backoff::Mode::Exponential, std::chrono::seconds(1), std::chrono::seconds(30)};
    base::MonoTime not_before_attempt_{}, renew_mono_{};
    uint64_t failures_in_row_ = 0;
};

}  // namespace warren::node
