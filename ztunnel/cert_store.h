// SPDX-License-Identifier: Apache-2.0
// CertStore: the certificates of this node's workloads (data-plane contract 2.5). One state per identity, requests coalesced and
// ordered by priority, renewal at half life, retries with back-off while the old certificate goes on serving. What comes out is a
// TlsContext ready for handshakes; it is replaced when the certificate, its roots or the revocation list change.
//
// Threads: every function may be called from any thread; answers are posted to the loop that asked. The signing happens on the
// store's own threads.
#pragma once

#include "base/loop.h"
#include "base/result.h"
#include "policy/identity.h"
#include "ztunnel/credential.h"
#include "ztunnel/tls_context.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

// Low to high: scheduled renewals, prefetch, a connection that waits.
enum class CertPriority : uint8_t { Background, Warmup, RealTime };

// Where certificates come from: the certificate service (ca_client.h), files, or a local authority for labs. Blocking, called from the
// store's threads, up to eight at once.
class CertSigner {
  public:
    virtual ~CertSigner() = default;
    virtual base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity& identity,
                                                                 std::chrono::steady_clock::time_point deadline) = 0;
};

struct CertState {
    policy::Identity identity;
    std::string state;  // "Initializing", "Available", "Unavailable: ..." (contract 9.7)
    std::shared_ptr<const Credential> credential;
};

class CertStore {
  public:
    using Answer = std::function<void(base::Result<std::shared_ptr<const TlsContext>>)>;
    virtual ~CertStore() = default;

    // The context if there is one now, else null. Never waits: this is the path of a connection whose certificate is there.
    [[nodiscard]] virtual std::shared_ptr<const TlsContext> current(const policy::Identity& identity) const = 0;
    // Answers on `loop`, at once when it is known already; an identity whose last attempt failed answers with that error.
    virtual void request(const policy::Identity& identity, CertPriority priority, base::Loop& loop, Answer answer) = 0;
    // Begin early, nobody waits. The queue is bounded; what does not fit is dropped and counted.
    virtual void prefetch(const policy::Identity& identity) = 0;
    // No local workload has it any more: the certificate goes, waiters fail.
    virtual void forget(const policy::Identity& identity) = 0;
    // Called (from the store's thread) after a context was replaced by one with other roots or another revocation list: live connections
    // are to be re-checked.
    virtual void on_trust_change(std::function<void(const policy::Identity&)> callback) = 0;
    [[nodiscard]] virtual std::vector<CertState> states() const = 0;
};

}  // namespace warren::ztunnel
