// SPDX-License-Identifier: Apache-2.0
#include "policy/evaluate.h"

#include "policy/compiled_rules.h"
#include "policy/rule_index.h"
#include "policy/verdict.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <unordered_set>
#include <utility>

namespace warren::policy {

SetFacts::SetFacts(const std::vector<PolicyRef>& policies, const std::vector<Text>& missing_names) : missing(!missing_names.empty()) {
    for (const PolicyRef& policy : policies) {
        if (!policy->refused()) {
            has[static_cast<size_t>(group_of(*policy))] = true;
        } else if (!policy->dry_run() && refused == nullptr) {
            refused = policy.get();
        }
    }
}

Decision conclude(const SetFacts& facts, const Hits& hits) {
    const auto hit = [&](Group g) -> const Hit& { return hits[static_cast<size_t>(g)]; };
    const auto has = [&](Group g) { return facts.has[static_cast<size_t>(g)]; };
    Decision d;
    const auto decided = [&](bool allowed, Reason reason, const Hit& by) {
        d.allowed = allowed;
        d.reason = reason;
        d.policy = by.policy;
        d.rule = by.rule;
        return d;
    };
    const auto dry_run = [&](DryRun what, const Policy* policy) {
        if (d.dry_run != DryRun::None) return;
        d.dry_run = what;
        d.dry_run_policy = policy;
    };

    if (const Hit& h = hit(Group::DryRunDeny); h.policy != nullptr) dry_run(DryRun::WouldDeny, h.policy);
    if (const Hit& h = hit(Group::Deny); h.policy != nullptr) return decided(false, Reason::DeniedByPolicy, h);
    if (facts.missing) return decided(false, Reason::DeniedPolicyMissing, {});
    if (facts.refused != nullptr) return decided(false, Reason::DeniedPolicyRefused, {facts.refused, 0});

    if (const Hit& h = hit(Group::DryRunAllow); h.policy != nullptr) {
        dry_run(DryRun::WouldAllow, h.policy);
    } else if (has(Group::DryRunAllow) && !has(Group::Allow)) {
        dry_run(DryRun::WouldDenyNoMatch, nullptr);
    }
    if (!has(Group::Allow)) return decided(true, Reason::AllowedNoAllowPolicy, {});
    if (const Hit& h = hit(Group::Allow); h.policy != nullptr) return decided(true, Reason::AllowedByPolicy, h);
    return decided(false, Reason::DeniedNoAllowMatched, {});
}

// All rules of the set, numbered group after group and in the set's order inside a group, so the lowest number that holds decides.
struct PolicySet::Index {
    explicit Index(const std::vector<PolicyRef>& policies, const std::vector<Text>& missing)
        : facts(policies, missing), rules(numbered(policies, group_end)) {}

    static std::vector<RuleIndex::Entry> numbered(const std::vector<PolicyRef>& policies, std::array<uint32_t, kGroups>& group_end) {
        std::vector<RuleIndex::Entry> entries;
        for (size_t group = 0; group < kGroups; ++group) {
            for (uint32_t i = 0; i < policies.size(); ++i) {
                if (static_cast<size_t>(group_of(*policies[i])) != group) continue;
                const CompiledRules& compiled = policies[i]->compiled();
                for (uint32_t rule = 0; rule < compiled.size(); ++rule) entries.push_back({&compiled, i, rule});
            }
            group_end[group] = static_cast<uint32_t>(entries.size());
        }
        return entries;
    }

    SetFacts facts;
    std::array<uint32_t, kGroups> group_end{};
    RuleIndex rules;
};

namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

std::vector<PolicyRef> without_repeats(std::vector<PolicyRef> policies) {
    std::unordered_set<const Policy*> seen;
    std::erase_if(policies, [&](const PolicyRef& p) { return !p || !seen.insert(p.get()).second; });
    return policies;
}

// A reference to no policy is a bug of the caller's; it denies like a name that has not arrived, and never just disappears.
std::vector<Text> with_unknown(std::vector<Text> missing, const std::vector<PolicyRef>& policies) {
    if (std::any_of(policies.begin(), policies.end(), [](const PolicyRef& p) { return !p; })) missing.emplace_back("(null)");
    return missing;
}

}  // namespace

PolicySet::PolicySet(std::vector<PolicyRef> policies, std::vector<Text> missing) {
    missing_ = with_unknown(std::move(missing), policies);
    policies_ = without_repeats(std::move(policies));
    index_ = std::make_unique<const Index>(policies_, missing_);
}

PolicySet::~PolicySet() = default;

Decision PolicySet::decide(const Connection& connection) const {
    const RuleIndex& rules = index_->rules;
    const auto& group_end = index_->group_end;
    std::array<uint32_t, kGroups> first;
    first.fill(kNone);
    rules.candidates(connection, [&](std::span<const uint32_t> numbers) {
        size_t group = 0;
        for (size_t i = 0; i < numbers.size();) {
            const uint32_t number = numbers[i];
            while (number >= group_end[group]) ++group;
            if (number < first[group]) {
                if (!rules.holds(number, connection)) {
                    ++i;
                    continue;
                }
                first[group] = number;
            }
            // Nothing later in this group can come before what holds already.
            const auto rest = numbers.begin() + static_cast<std::ptrdiff_t>(i);
            i = static_cast<size_t>(std::lower_bound(rest, numbers.end(), group_end[group]) - numbers.begin());
        }
    });

    Hits hits;
    for (size_t group = 0; group < kGroups; ++group) {
        if (first[group] == kNone) continue;
        const RuleIndex::Entry& e = rules[first[group]];
        hits[group] = {policies_[e.policy].get(), e.rule};
    }
    return conclude(index_->facts, hits);
}

}  // namespace warren::policy
