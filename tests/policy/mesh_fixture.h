// SPDX-License-Identifier: Apache-2.0
// A mesh in a few lines, for tests of everything that reads a Snapshot:
//     MeshFixture mesh;
//     mesh.service("prod/web.example").vip("10.1.0.1").port(80, 8080);
//     mesh.workload("prod/web-1").ip("10.0.0.2").hbone().in("prod/web.example");
//     auto snapshot = mesh.snapshot();
// Text that does not parse ends the test. Not for use after snapshot() by the same builder: take a new one and call snapshot() again.
#pragma once

#include "policy/snapshot.h"
#include "tests/catch.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tests {

inline base::IpAddr ip(std::string_view text) {
    auto address = base::IpAddr::parse(text);
    REQUIRE(address);
    return *address;
}

inline base::SockAddr sock(std::string_view text) {
    auto address = base::SockAddr::parse(text);
    REQUIRE(address);
    return *address;
}

inline policy::Identity identity(std::string_view uri) {
    auto parsed = policy::Identity::parse(uri);
    REQUIRE(parsed);
    return *parsed;
}

// "network/10.0.0.1", or "10.0.0.1" for the empty network.
inline policy::NetworkAddress network_address(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) return {policy::Text(), ip(text)};
    return {policy::Text(text.substr(0, slash)), ip(text.substr(slash + 1))};
}

// An address as above, or "namespace/hostname": what parses as an address is one.
inline policy::GatewayAddress gateway(std::string_view text, uint16_t port = 15008) {
    const size_t slash = text.find('/');
    if (base::IpAddr::parse(slash == std::string_view::npos ? text : text.substr(slash + 1))) return {network_address(text), port};
    return {policy::Text(text), port};
}

template <class T>
void append(policy::Array<T>& array, T item) {
    std::vector<T> items(array.begin(), array.end());
    items.push_back(std::move(item));
    array = policy::Array<T>(std::move(items));
}

class WorkloadBuilder {
  public:
    explicit WorkloadBuilder(policy::Ref<policy::Workload> w) : w_(std::move(w)) {}
    WorkloadBuilder& ip(std::string_view text) { return append(w_->addresses, tests::ip(text)), *this; }
    WorkloadBuilder& hbone() { return w_->tunnel_protocol = policy::TunnelProtocol::Hbone, *this; }
    WorkloadBuilder& host_network() { return w_->network_mode = policy::NetworkMode::HostNetwork, *this; }
    WorkloadBuilder& unhealthy() { return w_->status = policy::Health::Unhealthy, *this; }
    WorkloadBuilder& account(std::string_view name) { return w_->service_account = policy::Text(name), *this; }
    WorkloadBuilder& network(std::string_view name) { return w_->network = policy::Text(name), *this; }
    WorkloadBuilder& node(std::string_view name) { return w_->node = policy::Text(name), *this; }
    WorkloadBuilder& cluster(std::string_view name) { return w_->cluster_id = policy::Text(name), *this; }
    WorkloadBuilder& hostname(std::string_view name) { return w_->hostname = policy::Text(name), *this; }
    WorkloadBuilder& capacity(uint32_t weight) { return w_->capacity = weight, *this; }
    WorkloadBuilder& locality(std::string_view region, std::string_view zone = {}, std::string_view subzone = {}) {
        w_->locality = {policy::Text(region), policy::Text(zone), policy::Text(subzone)};
        return *this;
    }
    WorkloadBuilder& waypoint(std::string_view text, uint16_t port = 15008) {
        w_->waypoint = std::make_unique<const policy::GatewayAddress>(gateway(text, port));
        return *this;
    }
    WorkloadBuilder& network_gateway(std::string_view text, uint16_t port = 15008) {
        w_->network_gateway = std::make_unique<const policy::GatewayAddress>(gateway(text, port));
        return *this;
    }
    WorkloadBuilder& app_tunnel(policy::AppTunnelProtocol protocol, uint16_t port = 0) {
        w_->application_tunnel = std::make_unique<const policy::ApplicationTunnel>(policy::ApplicationTunnel{protocol, port});
        return *this;
    }
    // Membership in a service, with this endpoint's own port mapping.
    WorkloadBuilder& in(std::string_view service, std::initializer_list<policy::PortPair> ports = {}) {
        return append(w_->services, policy::WorkloadService{policy::Text(service), policy::Array<policy::PortPair>(ports)}), *this;
    }
    WorkloadBuilder& policy(std::string_view name) { return append(w_->authorization_policies, policy::Text(name)), *this; }
    [[nodiscard]] policy::WorkloadRef ref() const { return w_; }
    policy::Workload* operator->() { return &*w_; }

  private:
    policy::Ref<policy::Workload> w_;
};

class ServiceBuilder {
  public:
    explicit ServiceBuilder(policy::Ref<policy::Service> s) : s_(std::move(s)) {}
    ServiceBuilder& vip(std::string_view text) { return append(s_->vips, network_address(text)), *this; }
    ServiceBuilder& cidr(std::string_view network, std::string_view prefix) {
        auto parsed = base::Cidr::parse(prefix);
        REQUIRE(parsed);
        return append(s_->cidr_vips, policy::NetworkCidr{policy::Text(network), *parsed}), *this;
    }
    ServiceBuilder& port(uint16_t service_port, uint16_t target_port) {
        return append(s_->ports, policy::ServicePort{service_port, target_port, policy::AppProtocol::Unknown}), *this;
    }
    ServiceBuilder& san(std::string_view uri) { return append(s_->subject_alt_names, identity(uri)), *this; }
    ServiceBuilder& waypoint(std::string_view text, uint16_t port = 15008) {
        s_->waypoint = std::make_unique<const policy::GatewayAddress>(gateway(text, port));
        return *this;
    }
    ServiceBuilder& weighted_waypoint(std::string_view text, uint32_t weight) {
        return append(s_->weighted_waypoints, policy::WeightedWaypoint{gateway(text), weight}), *this;
    }
    ServiceBuilder& balance(policy::LbMode mode, std::initializer_list<policy::LbScope> preference = {}) {
        lb().mode = mode;
        lb().routing_preference = policy::Array<policy::LbScope>(preference);
        return *this;
    }
    ServiceBuilder& allow_all() { return lb().health_policy = policy::HealthPolicy::AllowAll, *this; }
    ServiceBuilder& families(policy::IpFamilies families) { return s_->ip_families = families, *this; }
    ServiceBuilder& canonical() { return s_->canonical = true, *this; }
    ServiceBuilder& namespace_only() { return s_->visibility = policy::Visibility::Namespace, *this; }
    [[nodiscard]] policy::ServiceRef ref() const { return s_; }
    policy::Service* operator->() { return &*s_; }

  private:
    policy::LoadBalancing& lb() {
        if (!s_->load_balancing) s_->load_balancing.emplace();
        return *s_->load_balancing;
    }
    policy::Ref<policy::Service> s_;
};

class MeshFixture {
  public:
    // "namespace/name": uid "Kubernetes//Pod/namespace/name", account "default", trust domain "cluster.local", no network.
    WorkloadBuilder workload(std::string_view ns_name) {
        const size_t slash = ns_name.find('/');
        REQUIRE(slash != std::string_view::npos);
        auto w = policy::make_ref<policy::Workload>();
        w->uid = policy::Text("Kubernetes//Pod/" + std::string(ns_name));
        w->ns = policy::Text(ns_name.substr(0, slash));
        w->name = policy::Text(ns_name.substr(slash + 1));
        w->workload_name = w->name;
        w->canonical_name = w->name;
        w->service_account = policy::Text("default");
        w->trust_domain = policy::Text("cluster.local");
        w->cluster_id = policy::Text("Kubernetes");
        w->node = policy::Text("node-a");
        workloads_.push_back(w);
        return WorkloadBuilder(w);
    }
    // "namespace/hostname"
    ServiceBuilder service(std::string_view ns_hostname) {
        const size_t slash = ns_hostname.find('/');
        REQUIRE(slash != std::string_view::npos);
        auto s = policy::make_ref<policy::Service>();
        s->key = policy::Text(ns_hostname);
        s->ns = policy::Text(ns_hostname.substr(0, slash));
        s->hostname = policy::Text(ns_hostname.substr(slash + 1));
        s->name = policy::Text(s->hostname.view().substr(0, s->hostname.view().find('.')));
        services_.push_back(s);
        return ServiceBuilder(s);
    }
    // Everything built so far that has not been applied yet.
    std::shared_ptr<const policy::Snapshot> snapshot() {
        policy::Batch batch;
        batch.workloads = std::move(workloads_);
        batch.services = std::move(services_);
        workloads_.clear();
        services_.clear();
        return mesh_.apply(std::move(batch));
    }
    [[nodiscard]] static std::string uid(std::string_view ns_name) { return "Kubernetes//Pod/" + std::string(ns_name); }

  private:
    policy::Mesh mesh_;
    std::vector<policy::WorkloadRef> workloads_;
    std::vector<policy::ServiceRef> services_;
};

}  // namespace warren::tests
