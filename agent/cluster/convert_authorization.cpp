// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert_authorization.h"

#include "agent/cluster/keys.h"
#include "agent/cluster/proto_address.h"
#include "base/bytes.h"

#include <algorithm>
#include <set>

namespace warren::cluster {

namespace {

using istio::security::Authorization;
using istio::security::Match;

void add(const std::string& text, istio::security::StringMatch& to) {
    if (text == "*")
        to.mutable_presence();
    else if (text.front() == '*')
        to.set_suffix(text.substr(1));
    else if (text.back() == '*')
        to.set_prefix(text.substr(0, text.size() - 1));
    else
        to.set_exact(text);
}

void add(const IpBlock& block, istio::security::Address& to) {
    to.set_address(address_bytes(block.ip));
    to.set_length(block.length);
}

void add(const AccountName& account, istio::security::ServiceAccountMatch& to) {
    to.set_namespace_(account.ns);
    to.set_serviceaccount(account.name);
}

template <class T, class List>
void add_all(const std::vector<T>& values, List* to) {
    for (const T& value : values) add(value, *to->Add());
}

void add_all(const std::vector<uint16_t>& values, google::protobuf::RepeatedField<uint32_t>* to) {
    for (const uint16_t value : values) to->Add(value);
}

class Converter {
  public:
    Converter(bool deny, Diagnostics& problems) : deny_(deny), problems_(problems) {}

    void rule(const RuleSpec& spec, Authorization& to) {
        // A node proxy cannot tell whether a request fits: an ALLOW must not let through what only some requests may, and a DENY is
        // left with the part that connections can be judged by.
        const bool http = collect_http(spec);
        if (http && !deny_) {
            ++omitted_;
            return;
        }
        istio::security::Rule* out = to.add_rules();
        clause(spec.to, *out);
        clause(spec.from, *out);
        for (const MatchSpec& when : spec.when) clause({&when, 1}, *out);
        if (http) ++stripped_;
        for (const auto& c : out->clauses()) {
            const bool never = std::all_of(c.matches().begin(), c.matches().end(), [](const Match& m) { return m.ByteSizeLong() == 0; });
            if (http && never) {
                ++idle_;
                break;
            }
        }
    }

    void report(const ObjectMeta& policy) {
        if (http_.empty()) return;
        std::string fields;
        for (const std::string& field : http_) fields += (fields.empty() ? "" : ", ") + base::quoted(field);
        std::string text = policy.where + ": AuthorizationPolicy " + policy.key() + ": ";
        if (!deny_)
            text += std::to_string(omitted_) + " rule(s) that allow by HTTP are left out, which denies more (" + fields + ")";
        else if (idle_ == stripped_)
            text += "nothing of its HTTP rules can be enforced here (" + fields + ")";
        else
            text += "enforced without its HTTP part, which denies more (" + fields + ")";
        problems_.warning(text + "; only a waypoint judges HTTP: give the policy a targetRef");
    }

  private:
    bool collect_http(const RuleSpec& spec) {
        bool any = false;
        for (const auto* part : {&spec.from, &spec.to, &spec.when}) {
            for (const MatchSpec& m : *part) {
                http_.insert(m.http.begin(), m.http.end());
                any = any || !m.http.empty();
            }
        }
        return any;
    }

    void clause(std::span<const MatchSpec> specs, istio::security::Rule& to) {
        if (specs.empty()) return;
        istio::security::Clause out;
        for (const MatchSpec& spec : specs) {
            widened_ = false;
            never_ = false;
            Match match;
            fill(spec, match);
            if (never_) match.Clear();  // one without fields never matches
            // A DENY of which nothing could be read denies: an alternative that always holds makes the clause hold, so it is left out.
            if (widened_ && match.ByteSizeLong() == 0 && spec.http.empty()) return;
            *out.add_matches() = std::move(match);
        }
        *to.add_clauses() = std::move(out);
    }

    void fill(const MatchSpec& m, Match& to) {
        both(m.namespaces, to.mutable_namespaces(), to.mutable_not_namespaces());
        both(m.principals, to.mutable_principals(), to.mutable_not_principals());
        both(m.source_ips, to.mutable_source_ips(), to.mutable_not_source_ips());
        both(m.destination_ips, to.mutable_destination_ips(), to.mutable_not_destination_ips());
        both(m.ports, to.mutable_destination_ports(), to.mutable_not_destination_ports());
        both(m.service_accounts, to.mutable_service_accounts(), to.mutable_not_service_accounts());
    }

    template <class T, class List>
    void both(const Both<T>& values, List* is, List* is_not) {
        add_all(values.is.good, is);
        add_all(values.is_not.good, is_not);
        if (values.is.bad && !values.is.good.empty()) problems_.warning(values.is.where + ". It is left out: the other values count");
        if (values.is.bad && values.is.good.empty()) doubt(values.is.where);
        if (values.is_not.bad) doubt(values.is_not.where);
    }

    // What a list without a readable value, or an exception that cannot be read, makes of its Match.
    void doubt(const std::string& where) {
        (deny_ ? widened_ : never_) = true;
        problems_.error(
            where + (deny_ ? ". Until then this DENY does without it, and denies more" : ". Until then this ALLOW allows nothing by it"));
    }

    bool deny_;
    Diagnostics& problems_;
    std::set<std::string> http_;
    size_t omitted_ = 0, stripped_ = 0, idle_ = 0;
    bool widened_ = false, never_ = false;
};

bool is_dry_run(const AuthorizationPolicy& policy, Diagnostics& problems) {
    if (!has_label(policy.meta.annotations, keys::kDryRun)) return false;
    const auto value = keys::parse_bool(label(policy.meta.annotations, keys::kDryRun));
    if (!value)
        problems.warning(policy.meta.where + ": AuthorizationPolicy " + policy.meta.key() +
                         ": annotation istio.io/dry-run is neither true nor false; the policy is enforced");
    return value.value_or(false);
}

}  // namespace

std::optional<Authorization> convert_authorization(const AuthorizationPolicy& policy, const Settings& settings, Diagnostics& problems) {
    using Action = AuthorizationAction;
    if (policy.has_target) return std::nullopt;
    if (policy.action == Action::Audit || policy.action == Action::Custom) {
        problems.warning(policy.meta.where + ": AuthorizationPolicy " + policy.meta.key() +
                         ": actions AUDIT and CUSTOM are for waypoints and not enforced here; give it a targetRef");
        return std::nullopt;
    }
    const bool dry_run = is_dry_run(policy, problems);
    if (dry_run && !settings.dry_run_policies) return std::nullopt;

    Authorization out;
    out.set_name(policy.meta.name);
    out.set_namespace_(policy.meta.ns);
    out.set_dry_run(dry_run);
    if (policy.selector && !policy.selector->empty())
        out.set_scope(istio::security::WORKLOAD_SELECTOR);
    else
        out.set_scope(policy.meta.ns == settings.root_namespace ? istio::security::GLOBAL : istio::security::NAMESPACE);
    const bool deny = policy.action == Action::Deny;
    out.set_action(deny ? istio::security::DENY : istio::security::ALLOW);
    Converter converter(deny, problems);
    for (const RuleSpec& rule : policy.rules) converter.rule(rule, out);
    converter.report(policy.meta);
    return out;
}

}  // namespace warren::cluster
