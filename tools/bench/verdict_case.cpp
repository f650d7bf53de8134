// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/verdict_case.h"

#include <string>

namespace warren::bench {

namespace {

using policy::Text;

constexpr uint32_t kNamespaces = 10;
constexpr uint32_t kRules = 3;
constexpr uint32_t kWide = 100;  // policies numbered below are for their whole namespace

std::string ns_of(uint32_t i) { return "team-" + std::to_string(i % kNamespaces); }
std::string account_of(uint32_t pod) { return "account-" + std::to_string(pod); }
std::string key_of(uint32_t policy) { return ns_of(policy) + "/policy-" + std::to_string(policy); }
base::IpAddr address_of(uint32_t pod) { return base::IpAddr::v4(0x0a000001u + pod); }

policy::WorkloadRef workload(uint32_t pod, const VerdictCaseSize& size) {
    const auto w = policy::make_ref<policy::Workload>();
    w->name = Text("pod-" + std::to_string(pod));
    w->ns = Text(ns_of(pod));
    w->uid = Text("Kubernetes//Pod/" + ns_of(pod) + "/" + w->name.str());
    w->service_account = Text(account_of(pod));
    w->trust_domain = Text("cluster.local");
    w->addresses = {address_of(pod)};
    w->tunnel_protocol = policy::TunnelProtocol::Hbone;
    // Of the listed policies of its namespace, every third, beginning elsewhere for each pod.
    std::vector<Text> listed;
    for (uint32_t n = kWide; n < size.policies; ++n)
        if (n % kNamespaces == pod % kNamespaces && (n / kNamespaces + pod / kNamespaces) % 3 == 0) listed.emplace_back(key_of(n));
    w->authorization_policies = policy::Array<Text>(std::move(listed));
    return w;
}

}  // namespace

std::vector<node::LocalPod> VerdictCase::pods() const {
    std::vector<node::LocalPod> out;
    for (uint32_t i = 0; i < size_.pods; ++i) {
        node::LocalPod p;
        p.id = i + 1;
        p.flags = WR_POD_OUTBOUND | WR_POD_INBOUND | WR_POD_DIRECT;
        p.v4 = address_of(i);
        p.ns = Text(ns_of(i));
        p.name = Text("pod-" + std::to_string(i));
        p.service_account = Text(account_of(i));
        out.push_back(std::move(p));
    }
    return out;
}

policy::Batch VerdictCase::mesh() const {
    policy::Batch batch;
    for (uint32_t i = 0; i < size_.pods; ++i) batch.workloads.push_back(workload(i, size_));
    for (uint32_t n = 0; n < size_.policies; ++n) batch.policies.emplace_back(policy(n, 0));
    batch.policies.emplace_back(global_policy(0));
    return batch;
}

policy::PolicySpec VerdictCase::policy(uint32_t n, uint32_t round) const {
    policy::PolicySpec spec;
    spec.key = Text(key_of(n));
    spec.name = Text("policy-" + std::to_string(n));
    spec.ns = Text(ns_of(n));
    spec.scope = n < kWide ? policy::Scope::Namespace : policy::Scope::WorkloadSelector;
    spec.action = n % 4 == 0 ? policy::PolicyAction::Deny : policy::PolicyAction::Allow;
    for (uint32_t r = 0; r < kRules; ++r) {
        policy::Match m;
        const uint32_t from = n * 7 + r * 31 + round;
        for (uint32_t i = 0; i < 3; ++i)
            m.principals.any_of.push_back({policy::StringMatch::Kind::Exact,
                                           Text("cluster.local/ns/" + ns_of(from + i) + "/sa/" + account_of((from + i) % size_.pods))});
        m.destination_ports.any_of.push_back(static_cast<uint16_t>(8000 + (n / kNamespaces + r) % size_.ports));
        const auto prefix = base::Cidr::make(base::IpAddr::v4(0x0a000000u + (from % 2) * 64), 26);
        if (size_.addresses && prefix) m.source_ips.any_of.push_back(*prefix);
        spec.rules.push_back({{std::move(m)}});
    }
    return spec;
}

policy::PolicySpec VerdictCase::global_policy(uint32_t round) {
    policy::PolicySpec spec;
    spec.key = Text("root/global");
    spec.action = policy::PolicyAction::Deny;
    policy::Match m;
    m.namespaces.any_of = {{policy::StringMatch::Kind::Exact, Text(ns_of(round))}};
    spec.rules.push_back({{std::move(m)}});
    return spec;
}

}  // namespace warren::bench
