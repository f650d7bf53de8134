// SPDX-License-Identifier: Apache-2.0
// Issuance: one certificate request from who is asking to the signed chain, without gRPC: limits, authentication, authorization, signing,
// audit, counters. Two steps, so that a request's bytes are only parsed for somebody known: admit(), then issue(). Any thread; blocks as
// long as the token reviewer. All parts outlive it.
//
// A certificate is handed out when its line stands in the audit log, and the use of a token in its file; not before.
//
// Errors carry gRPC's meaning (contract 4.4): Denied: Unauthenticated. Invalid: InvalidArgument. Exhausted: ResourceExhausted. Unavailable:
// Unavailable. Else Internal. What they say is for the caller, but for Internal.
#pragma once

#include "agent/cluster/audit_log.h"
#include "agent/cluster/node_authorizer.h"
#include "base/log_limit.h"
#include "base/rate_limit.h"

#include <atomic>
#include <chrono>
#include <cstdint>

namespace warren::cluster {

struct IssuanceLimits {
    base::RateLimitOptions caller = {
        .per_second = 250, .burst = 2'000, .max_keys = 10'000};  // by caller: a node that starts has its pods at once
    base::RateLimitOptions failures = {
        .per_second = 5, .burst = 50, .max_keys = 10'000};  // by address or certificate: attempts that did not authenticate
};

struct IssuanceParts {
    const Authority* authority = nullptr;
    const Authenticator* authenticator = nullptr;
    const NodeAuthorizer* authorizer = nullptr;
    AuditLog* audit = nullptr;     // may be null
    TokenTable* tokens = nullptr;  // may be null: then a bootstrap token buys nothing
};

struct IssuanceRequest {
    std::string_view csr_pem;
    std::chrono::seconds lifetime{0};
    std::string_view impersonated = {};
};

struct IssuanceStats {
    std::atomic<uint64_t> requests{0}, issued{0}, unauthenticated{0}, not_allowed{0}, bad_requests{0}, limited{0}, failed{0},
        tokens_used{0}, unaudited{0}, unreviewed{0};
};

class Issuance {
  public:
    Issuance(IssuanceParts parts, const IssuanceLimits& limits, const base::Clock& clock);
    [[nodiscard]] base::Result<CallerIdentity> admit(const PresentedCredentials& shown, base::MonoTime deadline);
    [[nodiscard]] base::Result<IssuedCertificate> issue(const CallerIdentity& caller, const IssuanceRequest& request,
                                                        std::string_view peer);
    // A request of somebody known that could not be read: counted and written down like any other refusal.
    [[nodiscard]] base::Error refuse_request(const CallerIdentity& caller, base::Error why, std::string_view peer);
    // One that was turned away unread: written down, a flood of one address as one line an interval. Does not wait for the log.
    void turned_away(const base::Error& why, std::string_view peer);
    [[nodiscard]] const IssuanceStats& stats() const { return stats_; }

  private:
    base::Error refused(const AuditEvent& who, base::Error why);
    base::Result<void> use_token(const CallerIdentity& caller);
    base::Result<void> write_down(const AuditEvent& event);
    base::Error limited(const AuditEvent& who, std::string_view key);

    const IssuanceParts parts_;
    base::RateLimit callers_, failures_;
    base::log::RepeatLimiter repeats_;  // of lines about refusals by a limit
    IssuanceStats stats_;
};

// Whom attempts that do not authenticate are counted against: the certificate that was shown, else the address.
[[nodiscard]] std::string failure_key(const PresentedCredentials& shown);

// gRPC's name of what an error becomes: "UNAUTHENTICATED".
[[nodiscard]] std::string_view status_name(base::Errc code);

}  // namespace warren::cluster
