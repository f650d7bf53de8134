// SPDX-License-Identifier: Apache-2.0
#include "policy/authorization.h"

#include "policy/compiled_rules.h"

#include <utility>

namespace warren::policy {

namespace {

template <class T>
void shrink(Lists<T>& lists) {
    lists.any_of.shrink_to_fit();
    lists.none_of.shrink_to_fit();
}

// A mesh keeps its rules for hours: what the converters grew step by step is cut to size.
void shrink(std::vector<Rule>& rules) {
    rules.shrink_to_fit();
    for (Rule& rule : rules) {
        rule.shrink_to_fit();
        for (Clause& clause : rule) {
            clause.shrink_to_fit();
            for (Match& match : clause) {
                shrink(match.namespaces);
                shrink(match.principals);
                shrink(match.service_accounts);
                shrink(match.source_ips);
                shrink(match.destination_ips);
                shrink(match.destination_ports);
            }
        }
    }
}

PolicySpec shrunk(PolicySpec spec) {
    shrink(spec.rules);
    return spec;
}

// The readable rest of a refused policy. It has no rules and its action does not count: it denies, or as a dry run does nothing.
PolicySpec remainder(const PolicyRefusal& refusal) {
    PolicySpec spec;
    const std::string_view key = refusal.key.view();
    const size_t slash = key.find('/');
    spec.key = refusal.key;
    spec.name = slash == std::string_view::npos ? refusal.key : Text(key.substr(slash + 1));
    spec.ns = refusal.ns;
    spec.scope = refusal.scope;
    spec.dry_run = refusal.dry_run;
    return spec;
}

}  // namespace

Policy::Policy(PolicySpec spec) : spec_(shrunk(std::move(spec))), compiled_(std::make_unique<const CompiledRules>(spec_.rules)) {}

// refused_ also says that the policy is refused, so it must not be empty.
Policy::Policy(PolicyRefusal refusal)
    : spec_(remainder(refusal)),
      refused_(refusal.reason.empty() ? "no reason was given" : std::move(refusal.reason)),
      compiled_(std::make_unique<const CompiledRules>(spec_.rules)) {}

Policy::~Policy() = default;

}  // namespace warren::policy
