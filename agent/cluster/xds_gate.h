// SPDX-License-Identifier: Apache-2.0
// XdsGate: who may open an xDS stream (Kubernetes contract 4.2, 5.1): a node by its certificate, or a Kubernetes service account by its
// token. A bootstrap token is good for being exchanged for a node's certificate and opens nothing itself. A node that says it is another
// one than its certificate, or the pod its token is bound to, says it is, is refused. Everybody who is let in is sent the whole mesh, as
// the reference does (docs/controller.md).
//
// Called on gRPC's threads. Reviewing a Kubernetes token blocks, so with a reviewer there are a few threads for it behind a bounded queue;
// a certificate that is good, and everything without a reviewer, is answered at once. Attempts that fail are counted against the address
// (or the certificate that was shown), and are refused unheard while there are too many of them. The authenticator outlives it; it
// outlives the server. stop() after the server's.
#pragma once

#include "agent/cluster/caller.h"
#include "agent/cluster/node_authorizer.h"
#include "agent/xds/server.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "base/rate_limit.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace warren::cluster {

class XdsGate final : public xds::Authenticator {
  public:
    struct Options {
        bool blocking = false;  // there is a reviewer
        unsigned threads = 4;
        size_t queue = 1'024;
        std::chrono::milliseconds deadline = std::chrono::seconds(10);
        base::RateLimitOptions failures = {.per_second = 5, .burst = 50, .max_keys = 10'000};
        const CallerPods* pods = nullptr;  // the nodes of callers' pods; outlives the gate; null: outside of Kubernetes
    };
    XdsGate(const cluster::Authenticator& authenticator, const Options& options, const base::Clock& clock);
    ~XdsGate() override;

    void authenticate(const xds::Caller& caller, Done done) override;
    base::Result<void> authorize(const std::string& identity, const xds::NodeInfo& node) override;
    base::Result<void> recheck(const std::string& identity, const std::string& certificate) override;
    // What waits is refused; the threads end.
    void stop();

    struct Stats {
        std::atomic<uint64_t> admitted{0}, refused{0}, limited{0}, overloaded{0}, unreviewed{0};
    };
    [[nodiscard]] const Stats& stats() const { return stats_; }

  private:
    struct Queue;
    void decide(const xds::Caller& caller, const Done& done);
    bool limited(const xds::Caller& caller, const Done& done);
    [[nodiscard]] std::string identity_of(CallerIdentity caller) const;

    const cluster::Authenticator& authenticator_;
    const Options options_;
    const base::Clock& clock_;
    base::RateLimit failures_;
    base::log::RepeatLimiter repeats_;
    Stats stats_;
    const std::unique_ptr<Queue> queue_;
};

// The text that authenticate() gives and authorize() reads: "node/NODE", "anonymous", or "account/NS/ACCOUNT" with "@NODE" when the token
// is bound to a pod whose node is known, and the caller's name after a space.
[[nodiscard]] std::string identity_text(const CallerIdentity& caller);

}  // namespace warren::cluster
