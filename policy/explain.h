// SPDX-License-Identifier: Apache-2.0
// Explain: the evaluation of evaluate.h with its trace kept for a person: which rule of which policy decided, and why each other one
// did not. It walks the same compiled rules with the same predicates (compiled_rules.h) and skips only the index that makes decide()
// fast; a property test holds the two verdicts equal. For the CLI, admin and tests; allocates freely, any thread.
#pragma once

#include "policy/evaluate.h"

#include <string>
#include <vector>

namespace warren::policy {

struct RuleTrace {
    bool matched = false;
    // Not matched: the first clause that failed and, for each of its matches, the list that stood in the way with the value it saw,
    // for example "principals: \"td/ns/app/sa/web\" is none of 3 entries" or "source has no identity (plaintext)".
    std::vector<std::string> why_not;
};

struct PolicyTrace {
    PolicyRef policy;
    bool matched = false;
    std::vector<RuleTrace> rules;
    std::string note;  // "dry run: not enforced", "refused: ...", "has no rules: never matches"
};

struct Explanation {
    Decision decision;
    std::vector<PolicyTrace> policies;  // in the set's order
    std::vector<Text> missing;
    // The decision in one sentence: "denied: policy prod/deny-all, rule 1, matched". Rules, clauses and matches count from 1 in texts.
    [[nodiscard]] std::string summary() const;
    // The whole story, a line each.
    [[nodiscard]] std::string to_string() const;
};

[[nodiscard]] Explanation explain(const PolicySet& set, const Connection& connection);

}  // namespace warren::policy
