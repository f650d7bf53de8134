// SPDX-License-Identifier: Apache-2.0
// Short ways to write workloads, services, policies and batches down in tests of the mesh store.
#pragma once

#include "policy/snapshot.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::tests {

inline base::IpAddr ip(std::string_view text) { return base::IpAddr::parse(text).value(); }
inline base::Cidr cidr(std::string_view text) { return base::Cidr::parse(text).value(); }
inline policy::NetworkAddress at(std::string_view network, std::string_view address) { return {policy::Text(network), ip(address)}; }
inline policy::NetworkAddress at(std::string_view address) { return at("", address); }

struct WorkloadSpec {
    std::string uid;
    std::vector<std::string> addresses = {};
    std::vector<std::string> services = {};  // keys; each maps 80 to 8080
    std::string network = {};
    std::string ns = "default";
    std::string name = {};  // the uid when empty
    std::string service_account = "default";
    std::string node = "node-1";
    std::string hostname = {};
    std::vector<std::string> policies = {};
    policy::TunnelProtocol protocol = policy::TunnelProtocol::Hbone;
    policy::NetworkMode mode = policy::NetworkMode::Standard;
    policy::Health health = policy::Health::Healthy;
    uint16_t target_port = 8080;
};

inline policy::WorkloadRef workload(const WorkloadSpec& spec) {
    using namespace policy;
    const auto w = make_ref<Workload>();
    w->uid = Text(spec.uid);
    w->name = Text(spec.name.empty() ? spec.uid : spec.name);
    w->ns = Text(spec.ns);
    w->service_account = Text(spec.service_account);
    w->network = Text(spec.network);
    w->node = Text(spec.node);
    w->hostname = Text(spec.hostname);
    std::vector<base::IpAddr> addresses;
    for (const std::string& a : spec.addresses) addresses.push_back(ip(a));
    w->addresses = Array<base::IpAddr>(std::move(addresses));
    std::vector<WorkloadService> services;
    for (const std::string& s : spec.services) services.push_back({Text(s), {PortPair{80, spec.target_port}}});
    w->services = Array<WorkloadService>(std::move(services));
    std::vector<Text> policies;
    for (const std::string& p : spec.policies) policies.emplace_back(p);
    w->authorization_policies = Array<Text>(std::move(policies));
    w->tunnel_protocol = spec.protocol;
    w->network_mode = spec.mode;
    w->status = spec.health;
    return w;
}

struct ServiceSpec {
    std::string ns;
    std::string hostname = {};
    std::vector<policy::NetworkAddress> vips = {};
    std::vector<policy::NetworkCidr> cidrs = {};
    policy::Visibility visibility = policy::Visibility::Public;
    bool canonical = false;
    bool allow_unhealthy = false;
};

inline policy::ServiceRef service(const ServiceSpec& spec) {
    using namespace policy;
    const auto s = make_ref<Service>();
    s->key = Text(spec.ns + '/' + spec.hostname);
    s->name = Text(spec.hostname.substr(0, spec.hostname.find('.')));
    s->ns = Text(spec.ns);
    s->hostname = Text(spec.hostname);
    s->vips = Array<NetworkAddress>(std::span(spec.vips));
    s->cidr_vips = Array<NetworkCidr>(std::span(spec.cidrs));
    s->ports = {ServicePort{80, 8080}};
    s->visibility = spec.visibility;
    s->canonical = spec.canonical;
    if (spec.allow_unhealthy) s->load_balancing = LoadBalancing{{}, LbMode::Unspecified, HealthPolicy::AllowAll};
    return s;
}

inline policy::PolicySpec policy_spec(std::string_view key, policy::Scope scope, policy::PolicyAction action = policy::PolicyAction::Deny) {
    const size_t slash = key.find('/');
    policy::PolicySpec spec;
    spec.key = policy::Text(key);
    spec.ns = policy::Text(key.substr(0, slash));
    spec.name = policy::Text(key.substr(slash + 1));
    spec.scope = scope;
    spec.action = action;
    spec.rules = {{}};  // one rule without clauses: always matches
    return spec;
}

inline policy::PolicyRefusal refusal(std::string_view key, policy::Scope scope, bool dry_run = false) {
    return {policy::Text(key), policy::Text(key.substr(0, key.find('/'))), scope, dry_run, "source_ips: \"300.1.1.1\" is no address"};
}

// The uid of what was found, "" for nothing; the key for a service.
inline std::string uid_of(const policy::Workload* w) { return w != nullptr ? w->uid.str() : ""; }
inline std::string key_of(const policy::ServiceEntry* e) { return e != nullptr ? e->service->key.str() : ""; }

}  // namespace warren::tests
