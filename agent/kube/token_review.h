// SPDX-License-Identifier: Apache-2.0
// TokenReviewer: who a bearer token is, by the API server's TokenReview (Kubernetes contract 4.2). Answers are kept briefly, by token, so
// that a node that asks for a hundred certificates is one review; the number kept is bounded. Any thread; a call blocks until its deadline
// at most, and only so many ask at once: further ones are refused at once, for whoever calls shares its threads with callers that need no
// review. Errors: Denied for a token that is not good; Exhausted when too many ask; Unavailable or Timeout when nobody could say. Deny in
// all cases. Tokens themselves are neither kept nor logged.
#pragma once

#include "agent/kube/client.h"
#include "base/clock.h"

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace warren::kube {

struct TokenIdentity {
    std::string ns, service_account;
    std::string pod_name, pod_uid;  // of a token bound to a pod, else empty
    std::string node_name;          // as the API server says it, since Kubernetes 1.30; else empty
    std::vector<std::string> audiences;

    bool operator==(const TokenIdentity&) const = default;
};

// What a TokenReview's answer means, for the audiences asked for. Pure.
base::Result<TokenIdentity> parse_token_review(std::string_view json, const std::vector<std::string>& audiences);

struct TokenReviewOptions {
    std::vector<std::string> audiences = {"istio-ca"};
    std::chrono::seconds keep_good{30};  // a revoked token counts no longer than this
    std::chrono::seconds keep_bad{5};
    size_t max_kept = 10'000;
    size_t max_token_bytes = 16'384;
    size_t max_at_once = 8;                                    // requests to the API server
    std::function<std::string(std::string_view)> key_of = {};  // what an answer is kept under: a hash of the token; none: nothing is kept
};

class TokenReviewer {
  public:
    // Both outlive it.
    TokenReviewer(Client& client, const base::Clock& clock, TokenReviewOptions options = {})
        : client_(client), clock_(clock), options_(std::move(options)) {}

    base::Result<TokenIdentity> review(const std::string& token, base::MonoTime deadline);

    struct Stats {
        uint64_t reviews = 0, hits = 0, denied = 0, errors = 0, overloaded = 0, timed_out = 0;  // errors: timed_out among them
        size_t kept = 0, at_once = 0;
    };
    [[nodiscard]] Stats stats() const;

  private:
    struct Kept {
        base::Result<TokenIdentity> answer;
        base::MonoTime until;
    };
    base::Result<TokenIdentity> ask(const std::string& token, base::MonoTime deadline);
    void keep(const std::string& key, const base::Result<TokenIdentity>& answer);

    Client& client_;
    const base::Clock& clock_;
    const TokenReviewOptions options_;
    mutable std::mutex mutex_;
    std::unordered_map<std::string, Kept> kept_;
    Stats stats_;
};

}  // namespace warren::kube
