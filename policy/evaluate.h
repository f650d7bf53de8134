// SPDX-License-Identifier: Apache-2.0
// The authorization engine (data-plane contract 7): may this connection reach this workload? To the letter of the contract, but where
// the reference fails open Warren denies with a reason: a listed policy that has not arrived (row 48, quirk A5) and a policy that did
// not parse (rows 50 to 52, quirk A8). explain.h is this same evaluation with its trace kept. Pure: no clock, no I/O, no locks;
// every thread may evaluate the same set at once.
#pragma once

#include "base/ip.h"
#include "policy/authorization.h"
#include "policy/identity.h"
#include "policy/reason.h"

#include <memory>
#include <vector>

namespace warren::policy {

// What a policy sees of a connection (contract 6.2): src is the TCP peer, dst the local pod and the final port.
struct Connection {
    base::SockAddr src;
    base::SockAddr dst;
    const Identity* src_identity = nullptr;  // null: plaintext. Borrowed for the call
};

// What dry-run policies would have done, for logs and audit; never enforced. The first that applies; ALLOW ones are asked only where the
// order comes to ALLOW policies at all (contract 7.2), not where a DENY, a missing or a refused policy has decided.
enum class DryRun : uint8_t {
    None,
    WouldDeny,         // a dry-run DENY matched
    WouldAllow,        // a dry-run ALLOW matched
    WouldDenyNoMatch,  // only dry-run ALLOW policies select the workload and none matched
};

struct Decision {
    bool allowed = false;
    Reason reason = Reason::DeniedPolicyMissing;
    const Policy* policy = nullptr;  // who decided, where one policy did; lives as long as the set
    uint32_t rule = 0;               // index of the first of its rules that matched
    DryRun dry_run = DryRun::None;
    const Policy* dry_run_policy = nullptr;
};

// The policies that apply to a workload, indexed for decisions. Immutable; shared by all workloads with the same namespace and list.
class PolicySet {
  public:
    // Policies in order: the namespace's, the global ones, then those the workload lists; a policy that would stand twice counts once.
    // missing: listed names that have not arrived. Building costs about a microsecond a rule.
    PolicySet(std::vector<PolicyRef> policies, std::vector<Text> missing);
    ~PolicySet();
    PolicySet(const PolicySet&) = delete;

    [[nodiscard]] const std::vector<PolicyRef>& policies() const { return policies_; }
    [[nodiscard]] const std::vector<Text>& missing() const { return missing_; }
    // Who decides when several policies match: the first in the order above. Of DENY before missing before refused before ALLOW.
    [[nodiscard]] Decision decide(const Connection& connection) const;

  private:
    struct Index;
    std::vector<PolicyRef> policies_;
    std::vector<Text> missing_;
    std::unique_ptr<const Index> index_;
};

}  // namespace warren::policy
