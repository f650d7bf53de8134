// SPDX-License-Identifier: Apache-2.0
// The policy sets that decide() is measured against: 100 selected policies (50 DENY, then 50 ALLOW) of 10 rules each, with connections
// whose only match is the last ALLOW policy (hits) and connections that nothing matches, many of them near misses whose name, port or
// address stands in some rule (misses). Deterministic. A case owns what its connections point to, so it does not move.
#pragma once

#include "policy/evaluate.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

namespace warren::bench {

enum class PolicyMix : uint8_t {
    Principals,  // three exact principals and a port
    Ports,       // one of 1,000 ports, and a negative list
    Cidrs,       // two source prefixes and a port, nested in a wide one of a few rules
    Prefixes,    // a principal prefix or suffix and a port
    Mixed,       // all of these, service accounts and namespaces in turn
    SharedPort,  // the worst case: every rule has the same port and is told apart by negative lists alone; no index can help
};
inline constexpr int kPolicyMixes = 6;
[[nodiscard]] std::string_view to_string(PolicyMix mix);

struct PolicyCase {
    PolicyCase() = default;
    PolicyCase(const PolicyCase&) = delete;
    std::deque<policy::Identity> identities;
    std::unique_ptr<const policy::PolicySet> set;
    std::vector<policy::Connection> hits;    // allowed by the last policy
    std::vector<policy::Connection> misses;  // denied: no ALLOW matched
};

[[nodiscard]] std::unique_ptr<PolicyCase> make_policy_case(PolicyMix mix);

}  // namespace warren::bench
