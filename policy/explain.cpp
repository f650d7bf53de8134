// SPDX-License-Identifier: Apache-2.0
#include "policy/explain.h"

#include "policy/compiled_rules.h"
#include "policy/verdict.h"

#include <algorithm>
#include <string_view>

namespace warren::policy {

namespace {

// Names come from certificates and policies of others: one line, printable, of bounded length.
std::string shown(std::string_view text) {
    constexpr size_t kMost = 300;
    std::string out = "\"";
    for (const char c : text.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
    return out + (text.size() > kMost ? "...\"" : "\"");
}

std::string shown(const StringMatch& m) {
    switch (m.kind) {
        case StringMatch::Kind::Exact: return shown(m.value.view());
        case StringMatch::Kind::Prefix: return "prefix " + shown(m.value.view());
        case StringMatch::Kind::Suffix: return "suffix " + shown(m.value.view());
        case StringMatch::Kind::Presence: break;
    }
    return "presence";
}
std::string shown(const ServiceAccountMatch& m) { return shown(m.ns.str() + "/" + m.service_account.str()); }
std::string shown(const base::Cidr& c) { return c.to_string(); }
std::string shown(uint16_t port) { return std::to_string(port); }

std::string_view field(Dimension dimension) {
    switch (dimension) {
        case Dimension::DestinationPort: return "destination_ports";
        case Dimension::SourceIp: return "source_ips";
        case Dimension::DestinationIp: return "destination_ips";
        case Dimension::ServiceAccount: return "service_accounts";
        case Dimension::Principal: return "principals";
        case Dimension::Namespace: return "namespaces";
    }
    return "";
}

// The element that hits, where one does, for a negative list; else how many there are. `value` is what the connection has.
template <class T, class HitFn>
std::string complaint(const CompiledList& list, const std::string& value, HitFn hit) {
    const auto items = list.items<T>();
    if (list.negative()) {
        const auto culprit = std::find_if(items.begin(), items.end(), hit);
        return value + " is excluded by " + (culprit != items.end() ? shown(*culprit) : std::string("an entry"));
    }
    if (items.size() == 1) return value + " is not " + shown(items[0]);
    return value + " is none of " + std::to_string(items.size()) + " entries";
}

std::string complaint(const CompiledList& list, const Connection& c) {
    const Identity* peer = peer_of(c);
    const auto cidr_complaint = [&](base::IpAddr ip) {
        return complaint<base::Cidr>(list, ip.to_string(), [&](const base::Cidr& x) { return x.contains(ip); });
    };
    switch (list.dimension()) {
        case Dimension::DestinationPort:
            return complaint<uint16_t>(list, std::to_string(c.dst.port), [&](uint16_t port) { return port == c.dst.port; });
        case Dimension::SourceIp: return cidr_complaint(c.src.ip);
        case Dimension::DestinationIp: return cidr_complaint(c.dst.ip);
        case Dimension::ServiceAccount:
            if (peer == nullptr) break;
            return complaint<ServiceAccountMatch>(list, shown(std::string(peer->ns()) + "/" + std::string(peer->service_account())),
                                                  [&](const ServiceAccountMatch& m) { return hits(m, *peer); });
        case Dimension::Principal:
            if (peer == nullptr) break;
            return complaint<StringMatch>(list, shown(peer->principal().view()),
                                          [&](const StringMatch& m) { return hits(m, principal_of(*peer)); });
        case Dimension::Namespace: {
            const Subject subject = namespace_of(peer);
            const std::string value = peer != nullptr ? shown(subject.text) : "\"\" (source has no identity)";
            return complaint<StringMatch>(list, value, [&](const StringMatch& m) { return hits(m, subject); });
        }
    }
    return "source has no identity (plaintext)";
}

// Of a clause that failed: one line a match, with its place where there is more than one.
std::vector<std::string> why_not(const CompiledRules& rules, uint32_t rule, uint32_t clause, const Connection& c) {
    const auto clauses = rules.clauses(rule);
    const auto matches = rules.matches(clause);
    std::string clause_place = clauses.size() > 1 ? "clause " + std::to_string(clause - clauses.begin + 1) + ", " : "";
    std::vector<std::string> lines;
    for (uint32_t match = matches.begin; match != matches.end; ++match) {
        std::string line = clause_place;
        if (matches.size() > 1) line += "match " + std::to_string(match - matches.begin + 1) + ", ";
        if (!line.empty()) line.replace(line.size() - 2, 2, ": ");
        const CompiledList* in_the_way = obstacle(rules.lists(match), c);
        if (in_the_way == nullptr) {
            line += "has no list with entries: never matches";
        } else {
            line += in_the_way->negative() ? "not_" : "";
            line += field(in_the_way->dimension());
            line += ": " + complaint(*in_the_way, c);
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

RuleTrace trace_rule(const CompiledRules& rules, uint32_t rule, const Connection& c) {
    const auto clauses = rules.clauses(rule);
    for (uint32_t clause = clauses.begin; clause != clauses.end; ++clause)
        if (!rules.clause_holds(clause, c)) return {false, why_not(rules, rule, clause, c)};
    return {true, {}};
}

std::string note_of(const Policy& policy) {
    const std::string dry = policy.dry_run() ? "dry run: not enforced" : "";
    const std::string join = dry.empty() ? "" : "; ";
    if (policy.refused()) return dry + join + "refused: " + policy.refused_because();
    if (policy.spec().rules.empty()) return dry + join + "has no rules: never matches";
    return dry;
}

PolicyTrace trace_policy(const PolicyRef& policy, const Connection& c, Hits& found) {
    PolicyTrace trace{policy, false, {}, note_of(*policy)};
    const CompiledRules& rules = policy->compiled();
    for (uint32_t rule = 0; rule < rules.size(); ++rule) {
        trace.rules.push_back(trace_rule(rules, rule, c));
        if (!trace.rules.back().matched || trace.matched) continue;
        trace.matched = true;
        Hit& first = found[static_cast<size_t>(group_of(*policy))];
        if (first.policy == nullptr) first = {policy.get(), rule};
    }
    return trace;
}

std::string named(const Policy& policy) { return "policy " + policy.key().str(); }

std::string dry_run_text(const Decision& d) {
    switch (d.dry_run) {
        case DryRun::None: return "";
        case DryRun::WouldDeny: return "dry run: " + named(*d.dry_run_policy) + " would deny";
        case DryRun::WouldAllow: return "dry run: " + named(*d.dry_run_policy) + " would allow";
        case DryRun::WouldDenyNoMatch: return "dry run: no dry-run ALLOW policy matched, enforced they would deny";
    }
    return "";
}

std::string list_of(const std::vector<Text>& names) {
    std::string out;
    for (const Text& name : names) out += (out.empty() ? "" : ", ") + name.str();
    return out;
}

}  // namespace

Explanation explain(const PolicySet& set, const Connection& connection) {
    Explanation out;
    Hits found;
    for (const PolicyRef& policy : set.policies()) out.policies.push_back(trace_policy(policy, connection, found));
    out.missing = set.missing();
    out.decision = conclude(SetFacts(set.policies(), set.missing()), found);
    return out;
}

std::string Explanation::summary() const {
    const Decision& d = decision;
    const std::string by = d.policy != nullptr ? named(*d.policy) : "";
    const std::string rule = ", rule " + std::to_string(d.rule + 1) + ", matched";
    switch (d.reason) {
        case Reason::AllowedNoAllowPolicy: return "allowed: no ALLOW policy selects the workload and no DENY policy matched";
        case Reason::AllowedByPolicy: return "allowed: " + by + rule;
        case Reason::DeniedByPolicy: return "denied: " + by + rule;
        case Reason::DeniedNoAllowMatched: return "denied: ALLOW policies select the workload and none matched";
        case Reason::DeniedPolicyMissing: return "denied: the workload lists policies that have not arrived: " + list_of(missing);
        case Reason::DeniedPolicyRefused: return "denied: " + by + " was refused: " + d.policy->refused_because();
        default: return d.allowed ? "allowed" : "denied";
    }
}

std::string Explanation::to_string() const {
    std::string out = summary() + "\n";
    if (const std::string dry = dry_run_text(decision); !dry.empty()) out += dry + "\n";
    for (const PolicyTrace& p : policies) {
        out += named(*p.policy);
        if (!p.policy->refused()) out += p.policy->action() == PolicyAction::Deny ? " (DENY)" : " (ALLOW)";
        out += p.matched ? ": matched" : ": did not match";
        out += p.note.empty() ? "\n" : "; " + p.note + "\n";
        for (size_t i = 0; i < p.rules.size(); ++i) {
            out += "  rule " + std::to_string(i + 1) + (p.rules[i].matched ? ": matched\n" : ": did not match\n");
            for (const std::string& line : p.rules[i].why_not) out += "    " + line + "\n";
        }
    }
    for (const Text& name : missing) out += "policy " + name.str() + ": listed by the workload, not arrived\n";
    return out;
}

}  // namespace warren::policy
