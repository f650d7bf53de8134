// SPDX-License-Identifier: Apache-2.0
// The order of evaluation (data-plane contract 7.2) once it is known which rules hold. Shared by decide(), which finds them through an
// index, and explain(), which walks all; not for others. Pure values, any thread.
#pragma once

#include "policy/evaluate.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace warren::policy {

enum class Group : uint8_t { DryRunDeny, Deny, DryRunAllow, Allow };
inline constexpr size_t kGroups = 4;

[[nodiscard]] inline Group group_of(const Policy& policy) {
    if (policy.action() == PolicyAction::Deny) return policy.dry_run() ? Group::DryRunDeny : Group::Deny;
    return policy.dry_run() ? Group::DryRunAllow : Group::Allow;
}

// The first rule that holds, in the set's order; null: none does.
struct Hit {
    const Policy* policy = nullptr;
    uint32_t rule = 0;
};
using Hits = std::array<Hit, kGroups>;

// What is true of a set whatever the connection.
struct SetFacts {
    SetFacts(const std::vector<PolicyRef>& policies, const std::vector<Text>& missing);
    std::array<bool, kGroups> has{};  // a readable policy of that group
    const Policy* refused = nullptr;  // the first that is refused and not a dry run
    bool missing = false;
};

[[nodiscard]] Decision conclude(const SetFacts& facts, const Hits& hits);

}  // namespace warren::policy
