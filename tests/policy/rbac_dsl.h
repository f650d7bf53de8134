// SPDX-License-Identifier: Apache-2.0
// Policies and connections in few words, for tests; and which policies apply to a workload, written from data-plane contract 7.1.
#pragma once

#include "policy/evaluate.h"
#include "tests/catch.h"
#include "tests/policy/naive_rbac.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::tests {

using policy::Clause;
using policy::Rule;
using policy::StringMatch;
using policy::Text;

inline StringMatch exact(std::string_view s) { return {StringMatch::Kind::Exact, Text(s)}; }
inline StringMatch prefix(std::string_view s) { return {StringMatch::Kind::Prefix, Text(s)}; }
inline StringMatch suffix(std::string_view s) { return {StringMatch::Kind::Suffix, Text(s)}; }
inline StringMatch presence() { return {StringMatch::Kind::Presence, {}}; }
inline base::Cidr cidr(std::string_view s) { return base::Cidr::parse(s).value(); }
inline base::IpAddr ip(std::string_view s) { return base::IpAddr::parse(s).value(); }

// M().namespaces({exact("app")}).ports({8080}) is one match.
struct M : policy::Match {
    using Strings = std::vector<StringMatch>;
    using Accounts = std::vector<policy::ServiceAccountMatch>;
    using Cidrs = std::vector<std::string_view>;
    using Ports = std::vector<uint16_t>;
    static std::vector<base::Cidr> all(const Cidrs& from) {
        std::vector<base::Cidr> out;
        for (const auto& s : from) out.push_back(cidr(s));
        return out;
    }
    M& ns(Strings v) { return policy::Match::namespaces.any_of = std::move(v), *this; }
    M& not_ns(Strings v) { return policy::Match::namespaces.none_of = std::move(v), *this; }
    M& principal(Strings v) { return policy::Match::principals.any_of = std::move(v), *this; }
    M& not_principal(Strings v) { return policy::Match::principals.none_of = std::move(v), *this; }
    M& account(Accounts v) { return policy::Match::service_accounts.any_of = std::move(v), *this; }
    M& not_account(Accounts v) { return policy::Match::service_accounts.none_of = std::move(v), *this; }
    M& src(const Cidrs& v) { return policy::Match::source_ips.any_of = all(v), *this; }
    M& not_src(const Cidrs& v) { return policy::Match::source_ips.none_of = all(v), *this; }
    M& dst(const Cidrs& v) { return policy::Match::destination_ips.any_of = all(v), *this; }
    M& not_dst(const Cidrs& v) { return policy::Match::destination_ips.none_of = all(v), *this; }
    M& ports(Ports v) { return policy::Match::destination_ports.any_of = std::move(v), *this; }
    M& not_ports(Ports v) { return policy::Match::destination_ports.none_of = std::move(v), *this; }
};

inline policy::ServiceAccountMatch account(std::string_view ns, std::string_view name) { return {Text(ns), Text(name)}; }

inline Rule one(const policy::Match& m) { return Rule{Clause{m}}; }

inline policy::PolicySpec spec(policy::PolicyAction action, std::vector<Rule> rules, std::string_view key = "prod/p") {
    policy::PolicySpec out;
    out.key = Text(key);
    out.ns = Text(key.substr(0, key.find('/')));
    out.name = Text(key.substr(key.find('/') + 1));
    out.scope = policy::Scope::Namespace;
    out.action = action;
    out.rules = std::move(rules);
    return out;
}
inline policy::PolicySpec allow(std::vector<Rule> rules, std::string_view key = "prod/allow") {
    return spec(policy::PolicyAction::Allow, std::move(rules), key);
}
inline policy::PolicySpec deny(std::vector<Rule> rules, std::string_view key = "prod/deny") {
    return spec(policy::PolicyAction::Deny, std::move(rules), key);
}
inline policy::PolicySpec dry(policy::PolicySpec s) { return s.dry_run = true, s; }
inline policy::PolicySpec scoped(policy::PolicySpec s, policy::Scope scope) { return s.scope = scope, s; }
inline policy::PolicyRefusal refusal(std::string_view key, std::string_view reason) {
    return {Text(key), Text(key.substr(0, key.find('/'))), policy::Scope::Namespace, false, std::string(reason)};
}

// A connection with its identity, all to 10.0.0.2:8080 unless changed.
struct Conn {
    explicit Conn(std::string_view from, const char* spiffe = nullptr) : src(ip(from)) {
        if (spiffe != nullptr) identity = policy::Identity::parse(spiffe).value();
    }
    Conn& to(uint16_t p) { return port = p, *this; }
    [[nodiscard]] policy::Connection connection() const { return {{src, 40000}, {dst, port}, identity.empty() ? nullptr : &identity}; }
    [[nodiscard]] NaiveConnection naive() const {
        NaiveConnection out{src, dst, port, std::nullopt};
        if (!identity.empty())
            out.peer = NaivePeer{std::string(identity.trust_domain()), std::string(identity.ns()), std::string(identity.service_account())};
        return out;
    }
    base::IpAddr src;
    base::IpAddr dst = ip("10.0.0.2");
    uint16_t port = 8080;
    policy::Identity identity;
};
inline Conn conn_p() { return Conn("10.0.0.1"); }
inline Conn conn_a() { return Conn("10.0.0.1", "spiffe://td/ns/app/sa/web"); }
inline Conn conn_b() { return Conn("10.0.0.9", "spiffe://other/ns/ops/sa/job"); }

// Contract 7.1: the policies of a mesh that apply to a workload.
struct Selected {
    std::vector<NaivePolicy> policies;
    std::vector<Text> missing;
};

inline Selected select(const std::vector<NaivePolicy>& mesh, std::string_view workload_ns, const std::vector<std::string_view>& listed) {
    Selected out;
    std::vector<const NaivePolicy*> taken;
    const auto key = [](const NaivePolicy& p) { return std::visit([](const auto& x) { return x.key; }, p); };
    const auto ns = [](const NaivePolicy& p) { return std::visit([](const auto& x) { return x.ns; }, p); };
    const auto scope = [](const NaivePolicy& p) { return std::visit([](const auto& x) { return x.scope; }, p); };
    const auto take = [&](const NaivePolicy& p) {
        for (const NaivePolicy* t : taken)
            if (t == &p) return;
        taken.push_back(&p);
        out.policies.push_back(p);
    };
    for (const NaivePolicy& p : mesh)
        if (scope(p) == policy::Scope::Namespace && ns(p) == workload_ns) take(p);
    for (const NaivePolicy& p : mesh)
        if (scope(p) == policy::Scope::Global || (scope(p) == policy::Scope::Namespace && ns(p).empty())) take(p);
    for (const std::string_view name : listed) {
        bool known = false;
        for (const NaivePolicy& p : mesh)
            if (key(p) == name) known = true, take(p);
        if (!known) out.missing.emplace_back(name);
    }
    return out;
}

inline std::vector<policy::PolicyRef> refs_of(const std::vector<NaivePolicy>& policies) {
    std::vector<policy::PolicyRef> refs;
    for (const NaivePolicy& p : policies) std::visit([&](const auto& s) { refs.push_back(policy::make_ref<const policy::Policy>(s)); }, p);
    return refs;
}

// The decision of the engine, the naive one checked beside it. The set stays alive for the pointers in the decision.
struct Judged {
    std::unique_ptr<policy::PolicySet> set;
    policy::Decision decision;
};

inline Judged judge(const std::vector<NaivePolicy>& policies, const Conn& c, const std::vector<Text>& missing = {}) {
    auto set = std::make_unique<policy::PolicySet>(refs_of(policies), missing);
    const policy::Decision d = set->decide(c.connection());
    const NaiveDecision n = naive::decide(policies, missing.size(), c.naive());
    CHECK(n.allowed == d.allowed);
    CHECK(policy::to_string(n.reason) == policy::to_string(d.reason));
    CHECK(n.dry_run == d.dry_run);
    return {std::move(set), d};
}

inline bool allowed(const std::vector<NaivePolicy>& policies, const Conn& c) { return judge(policies, c).decision.allowed; }

}  // namespace warren::tests
