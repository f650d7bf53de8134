// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/policy_case.h"

#include <string>

namespace warren::bench {

namespace {

using policy::Match;
using policy::StringMatch;
using policy::Text;

constexpr uint32_t kPolicies = 100;
constexpr uint32_t kRules = 10;
constexpr uint32_t kAll = kPolicies * kRules;
constexpr uint16_t kPort = 8080;

// The names and addresses that rule number n speaks of.
std::string ns_of(uint32_t n) { return "team-" + std::to_string(n); }
std::string account_of(uint32_t n) { return "account-" + std::to_string(n % 7); }
std::string principal_of(uint32_t n) { return "cluster.local/ns/" + ns_of(n) + "/sa/" + account_of(n); }
uint16_t port_of(uint32_t n) { return static_cast<uint16_t>(10000 + n); }
base::IpAddr address_of(uint32_t n) { return base::IpAddr::v4(0x0a000000u | n << 8 | 5); }

base::Cidr prefix_of(base::IpAddr ip, unsigned length) {
    const auto made = base::Cidr::make(ip, length);
    return made ? *made : base::Cidr();
}

StringMatch exact(const std::string& text) { return {StringMatch::Kind::Exact, Text(text)}; }

// What of its peer a rule of the mix in turn looks at.
PolicyMix mix_of(PolicyMix mix, uint32_t n) {
    constexpr PolicyMix turns[] = {PolicyMix::Principals, PolicyMix::Cidrs, PolicyMix::Prefixes, PolicyMix::Mixed};
    return mix == PolicyMix::Mixed ? turns[n % 4] : mix;
}

Match match_of(PolicyMix mix, uint32_t n) {
    Match m;
    if (mix != PolicyMix::Ports) m.destination_ports.any_of = {kPort};
    switch (mix_of(mix, n)) {
        case PolicyMix::Principals:
            m.principals.any_of = {exact(principal_of(n)), exact(principal_of(n) + "-canary"), exact("other/ns/x/sa/" + std::to_string(n))};
            break;
        case PolicyMix::Ports:
            m.destination_ports.any_of = {port_of(n)};
            m.namespaces.none_of = {exact("outside")};
            break;
        case PolicyMix::Cidrs:
            m.source_ips.any_of = {prefix_of(address_of(n), 24), prefix_of(base::IpAddr::v4(0xc0a80000u + n), 32)};
            if (n % 100 == 0) m.source_ips.any_of.push_back(prefix_of(base::IpAddr::v4(0xac100000u), 12));
            break;
        case PolicyMix::Prefixes:
            if (n % 2 == 0) m.principals.any_of = {{StringMatch::Kind::Prefix, Text("cluster.local/ns/" + ns_of(n) + "/")}};
            if (n % 2 == 1) m.principals.any_of = {{StringMatch::Kind::Suffix, Text("/ns/" + ns_of(n) + "/sa/" + account_of(n))}};
            break;
        case PolicyMix::Mixed:
            if (n % 8 < 4) m.service_accounts.any_of = {{Text(ns_of(n)), Text(account_of(n))}};
            if (n % 8 >= 4) m.namespaces.any_of = {exact(ns_of(n))};
            break;
        case PolicyMix::SharedPort:
            // Only the last policy takes peers of 10.0.0.0/16, none takes those of 10.1.0.0/16.
            m.source_ips.none_of = {
                prefix_of(base::IpAddr::v4(n + kRules >= kAll ? 0x0a010000u : 0x0a000000u), n + kRules >= kAll ? 16 : 8)};
            break;
    }
    return m;
}

policy::PolicyRef policy_of(PolicyMix mix, uint32_t p) {
    policy::PolicySpec spec;
    spec.key = Text("prod/policy-" + std::to_string(p));
    spec.scope = policy::Scope::Namespace;
    spec.action = p < kPolicies / 2 ? policy::PolicyAction::Deny : policy::PolicyAction::Allow;
    for (uint32_t r = 0; r < kRules; ++r) spec.rules.push_back({{match_of(mix, p * kRules + r)}});
    return policy::make_ref<const policy::Policy>(std::move(spec));
}

// The connection that rule n is about; `port` may spoil it.
policy::Connection connection_of(PolicyCase& c, uint32_t n, uint16_t port) {
    c.identities.emplace_back("cluster.local", ns_of(n), account_of(n));
    return {{address_of(n), 40000}, {base::IpAddr::v4(0x0aff0001u), port}, &c.identities.back()};
}

}  // namespace

std::string_view to_string(PolicyMix mix) {
    switch (mix) {
        case PolicyMix::Principals: return "principals";
        case PolicyMix::Ports: return "ports";
        case PolicyMix::Cidrs: return "cidrs";
        case PolicyMix::Prefixes: return "prefixes";
        case PolicyMix::Mixed: return "mixed";
        case PolicyMix::SharedPort: return "shared-port";
    }
    return "unknown";
}

std::unique_ptr<PolicyCase> make_policy_case(PolicyMix mix) {
    auto c = std::make_unique<PolicyCase>();
    std::vector<policy::PolicyRef> policies;
    for (uint32_t p = 0; p < kPolicies; ++p) policies.push_back(policy_of(mix, p));
    c->set = std::make_unique<const policy::PolicySet>(std::move(policies), std::vector<Text>());

    for (uint32_t n = kAll - kRules; n < kAll; ++n) {
        c->hits.push_back(connection_of(*c, n, mix == PolicyMix::Ports ? port_of(n) : kPort));
        if (mix == PolicyMix::SharedPort) c->hits.back().src.ip = base::IpAddr::v4(0x0a000005u);
    }
    for (uint32_t n = 0; n < kAll; ++n) {
        const bool stranger = n % 2 == 0;
        const uint16_t port = mix == PolicyMix::SharedPort || (stranger && mix != PolicyMix::Ports) ? kPort : uint16_t{9999};
        c->misses.push_back(connection_of(*c, stranger ? n + 10 * kAll : n, port));
        if (mix == PolicyMix::SharedPort) c->misses.back().src.ip = base::IpAddr::v4(0x0a010005u);
    }
    return c;
}

}  // namespace warren::bench
