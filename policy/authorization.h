// SPDX-License-Identifier: Apache-2.0
// Authorization policies as values (data-plane contract 1.3 and 7). rules are OR-ed, clauses AND-ed, matches OR-ed; inside a match
// all lists AND together, elements of a list OR. A Policy is built once by a converter (authorization_proto, authorization_yaml),
// which refuses it whole when any element does not parse: an element that is dropped widens what is left (contract 7.6, quirk A8).
// Immutable once in a snapshot; any thread may read it.
#pragma once

#include "base/ip.h"
#include "policy/ref.h"
#include "policy/text.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::policy {

enum class Scope : uint8_t { Global, Namespace, WorkloadSelector };
enum class PolicyAction : uint8_t { Allow, Deny };

struct StringMatch {
    enum class Kind : uint8_t { Exact, Prefix, Suffix, Presence };
    Kind kind = Kind::Exact;
    Text value;
    bool operator==(const StringMatch&) const = default;
};

struct ServiceAccountMatch {
    Text ns;
    Text service_account;
    bool operator==(const ServiceAccountMatch&) const = default;
};

// One kind of list, positive and negative: the positive one is satisfied when empty or any element hits, the negative one when none does.
template <class T>
struct Lists {
    std::vector<T> any_of;
    std::vector<T> none_of;
    [[nodiscard]] bool empty() const { return any_of.empty() && none_of.empty(); }
    bool operator==(const Lists&) const = default;
};

struct Match {
    Lists<StringMatch> namespaces;
    Lists<StringMatch> principals;
    Lists<ServiceAccountMatch> service_accounts;
    Lists<base::Cidr> source_ips;
    Lists<base::Cidr> destination_ips;
    Lists<uint16_t> destination_ports;
    // All twelve lists empty: never matches.
    [[nodiscard]] bool empty() const {
        return namespaces.empty() && principals.empty() && service_accounts.empty() && source_ips.empty() && destination_ips.empty() &&
               destination_ports.empty();
    }
    bool operator==(const Match&) const = default;
};

using Clause = std::vector<Match>;  // no match: true
using Rule = std::vector<Clause>;   // no clause: true

// What a converter hands over.
struct PolicySpec {
    Text key;  // resource name, "namespace/name"
    Text name;
    Text ns;
    Scope scope = Scope::Global;
    PolicyAction action = PolicyAction::Allow;
    bool dry_run = false;
    std::vector<Rule> rules;  // none: never matches
    bool operator==(const PolicySpec&) const = default;
};

// A policy that could not be read. Where an earlier version exists it stays in force; else whatever the policy would have selected denies.
struct PolicyRefusal {
    Text key;
    Text ns;
    Scope scope = Scope::WorkloadSelector;  // what was readable; an unknown scope selects only the workloads that list the policy
    bool dry_run = false;                   // a dry run never denies, not even a refused one
    std::string reason;                     // names the field and the value
};

class CompiledRules;  // compiled_rules.h: the form a decision walks

// A policy in a snapshot: either compiled, or refused.
class Policy : public Counted {
  public:
    explicit Policy(PolicySpec spec);
    explicit Policy(PolicyRefusal refusal);
    Policy(const Policy&) = delete;
    ~Policy();

    [[nodiscard]] const Text& key() const { return spec_.key; }
    [[nodiscard]] const Text& name() const { return spec_.name; }
    [[nodiscard]] const Text& ns() const { return spec_.ns; }
    [[nodiscard]] Scope scope() const { return spec_.scope; }
    [[nodiscard]] PolicyAction action() const { return spec_.action; }
    [[nodiscard]] bool dry_run() const { return spec_.dry_run; }
    [[nodiscard]] bool refused() const { return !refused_.empty(); }
    [[nodiscard]] const std::string& refused_because() const { return refused_; }
    [[nodiscard]] const PolicySpec& spec() const { return spec_; }  // rules are empty when refused
    [[nodiscard]] const CompiledRules& compiled() const { return *compiled_; }

  private:
    PolicySpec spec_;
    std::string refused_;
    std::unique_ptr<const CompiledRules> compiled_;
};

using PolicyRef = Ref<const Policy>;

}  // namespace warren::policy
