// SPDX-License-Identifier: Apache-2.0
// A second authorization engine, written from the prose of data-plane contract 7.2 to 7.4 and from nothing else: loops over the spec,
// addresses bit by bit, texts character by character, no hash, no index, no code of the engine under test. Slow on purpose.
#pragma once

#include "policy/authorization.h"
#include "policy/evaluate.h"

#include <array>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace warren::tests {

// A peer by its three names, as a certificate carries them.
struct NaivePeer {
    std::string trust_domain, ns, service_account;
    [[nodiscard]] std::string principal() const { return trust_domain + "/ns/" + ns + "/sa/" + service_account; }
};

struct NaiveConnection {
    base::IpAddr src, dst;
    uint16_t dst_port = 0;
    std::optional<NaivePeer> peer;
};

using NaivePolicy = std::variant<policy::PolicySpec, policy::PolicyRefusal>;

struct NaiveDecision {
    bool allowed = false;
    policy::Reason reason = policy::Reason::DeniedPolicyMissing;
    int policy = -1;  // place in the list
    uint32_t rule = 0;
    policy::DryRun dry_run = policy::DryRun::None;
    int dry_run_policy = -1;
    bool operator==(const NaiveDecision&) const = default;
};

namespace naive {

inline bool string_hits(const policy::StringMatch& m, const std::string& text) {
    const std::string value = m.value.str();
    using Kind = policy::StringMatch::Kind;
    if (m.kind == Kind::Exact) return text == value;
    if (m.kind == Kind::Presence) return !text.empty();
    if (value.size() > text.size()) return false;
    const size_t offset = m.kind == Kind::Prefix ? 0 : text.size() - value.size();
    for (size_t i = 0; i < value.size(); ++i)
        if (text[offset + i] != value[i]) return false;
    return true;
}

inline bool cidr_hits(const base::Cidr& cidr, base::IpAddr ip) {
    std::array<uint8_t, 16> a{}, b{};
    if (cidr.first().to_bytes(a) != ip.to_bytes(b)) return false;  // the other family
    for (unsigned bit = 0; bit < cidr.length(); ++bit)
        if (((a[bit / 8] ^ b[bit / 8]) >> (7 - bit % 8) & 1) != 0) return false;
    return true;
}

template <class T, class Hits>
bool dimension(const policy::Lists<T>& lists, Hits hits) {
    bool positive = lists.any_of.empty(), negative = false;
    for (const T& item : lists.any_of) positive = positive || hits(item);
    for (const T& item : lists.none_of) negative = negative || hits(item);
    return positive && !negative;
}

inline bool match_holds(const policy::Match& m, const NaiveConnection& c) {
    const size_t elements = m.namespaces.any_of.size() + m.namespaces.none_of.size() + m.principals.any_of.size() +
                            m.principals.none_of.size() + m.service_accounts.any_of.size() + m.service_accounts.none_of.size() +
                            m.source_ips.any_of.size() + m.source_ips.none_of.size() + m.destination_ips.any_of.size() +
                            m.destination_ips.none_of.size() + m.destination_ports.any_of.size() + m.destination_ports.none_of.size();
    if (elements == 0) return false;
    const auto account = [&](const policy::ServiceAccountMatch& x) {
        return c.peer && x.ns.str() == c.peer->ns && x.service_account.str() == c.peer->service_account;
    };
    return dimension(m.destination_ips, [&](const base::Cidr& x) { return cidr_hits(x, c.dst); }) &&
           dimension(m.source_ips, [&](const base::Cidr& x) { return cidr_hits(x, c.src); }) &&
           dimension(m.destination_ports, [&](uint16_t x) { return x == c.dst_port; }) && dimension(m.service_accounts, account) &&
           dimension(m.principals, [&](const policy::StringMatch& x) { return c.peer && string_hits(x, c.peer->principal()); }) &&
           dimension(m.namespaces, [&](const policy::StringMatch& x) { return string_hits(x, c.peer ? c.peer->ns : ""); });
}

inline bool rule_holds(const policy::Rule& rule, const NaiveConnection& c) {
    for (const policy::Clause& clause : rule) {
        bool any = clause.empty();
        for (const policy::Match& m : clause) any = any || match_holds(m, c);
        if (!any) return false;
    }
    return true;
}

struct Found {
    int policy = -1;
    uint32_t rule = 0;
    bool exists = false;  // a readable policy of that action and dry-run flag
};

inline Found find(const std::vector<NaivePolicy>& policies, const NaiveConnection& c, policy::PolicyAction action, bool dry_run) {
    Found found;
    for (size_t i = 0; i < policies.size(); ++i) {
        const auto* spec = std::get_if<policy::PolicySpec>(&policies[i]);
        if (spec == nullptr || spec->action != action || spec->dry_run != dry_run) continue;
        found.exists = true;
        for (uint32_t r = 0; r < spec->rules.size() && found.policy < 0; ++r)
            if (rule_holds(spec->rules[r], c)) found.policy = static_cast<int>(i), found.rule = r;
    }
    return found;
}

// The contract's six steps, with Warren's two denials between the second and the third.
inline NaiveDecision decide(const std::vector<NaivePolicy>& policies, size_t missing, const NaiveConnection& c) {
    using policy::PolicyAction, policy::Reason, policy::DryRun;
    NaiveDecision d;
    if (const Found f = find(policies, c, PolicyAction::Deny, true); f.policy >= 0) {
        d.dry_run = DryRun::WouldDeny;
        d.dry_run_policy = f.policy;
    }
    if (const Found f = find(policies, c, PolicyAction::Deny, false); f.policy >= 0) {
        d.reason = Reason::DeniedByPolicy;
        d.policy = f.policy;
        d.rule = f.rule;
        return d;
    }
    if (missing > 0) {
        d.reason = Reason::DeniedPolicyMissing;
        return d;
    }
    for (size_t i = 0; i < policies.size(); ++i) {
        const auto* refusal = std::get_if<policy::PolicyRefusal>(&policies[i]);
        if (refusal == nullptr || refusal->dry_run) continue;
        d.reason = Reason::DeniedPolicyRefused;
        d.policy = static_cast<int>(i);
        return d;
    }
    const Found dry = find(policies, c, PolicyAction::Allow, true), allow = find(policies, c, PolicyAction::Allow, false);
    if (d.dry_run == DryRun::None && dry.policy >= 0) {
        d.dry_run = DryRun::WouldAllow;
        d.dry_run_policy = dry.policy;
    } else if (d.dry_run == DryRun::None && dry.exists && !allow.exists) {
        d.dry_run = DryRun::WouldDenyNoMatch;
    }
    d.allowed = !allow.exists || allow.policy >= 0;
    d.reason = !allow.exists ? Reason::AllowedNoAllowPolicy : d.allowed ? Reason::AllowedByPolicy : Reason::DeniedNoAllowMatched;
    d.policy = allow.policy;
    d.rule = allow.rule;
    return d;
}

}  // namespace naive

}  // namespace warren::tests
