// SPDX-License-Identifier: Apache-2.0
// Messages filled at random, every field legal, for round trips. Seeded, so a failure repeats.
#pragma once

#include "policy/random.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <string>

namespace warren::tests {

class RandomMesh {
  public:
    explicit RandomMesh(uint64_t seed) : random_(seed) {}

    istio::workload::Workload workload() {
        istio::workload::Workload w;
        w.set_uid("cluster/" + word());
        w.set_name(word());
        w.set_namespace_(word());
        for (uint32_t i = below(3); i > 0; --i) w.add_addresses(address());
        w.set_network(maybe());
        w.set_tunnel_protocol(static_cast<istio::workload::TunnelProtocol>(below(2)));
        w.set_trust_domain(word());
        w.set_service_account(word());
        if (coin()) fill(*w.mutable_waypoint());
        w.set_node(maybe());
        w.set_canonical_name(maybe());
        w.set_canonical_revision(maybe());
        w.set_workload_type(static_cast<istio::workload::WorkloadType>(below(4)));
        w.set_workload_name(maybe());
        w.set_native_tunnel(coin());
        for (uint32_t i = below(3); i > 0; --i) w.add_authorization_policies(word() + "/" + word());
        w.set_status(static_cast<istio::workload::WorkloadStatus>(below(2)));
        w.set_cluster_id(word());
        if (coin()) fill(*w.mutable_network_gateway());
        w.set_hostname(maybe());
        for (uint32_t i = below(4); i > 0; --i) {
            auto& ports = (*w.mutable_services())[word() + "/" + word()];
            for (uint32_t n = below(3); n > 0; --n) {
                auto& port = *ports.add_ports();
                port.set_service_port(below(65536));
                port.set_target_port(below(65536));
            }
        }
        if (coin()) {
            w.mutable_application_tunnel()->set_protocol(static_cast<istio::workload::ApplicationTunnel::Protocol>(below(2)));
            w.mutable_application_tunnel()->set_port(below(65536));
        }
        if (coin()) w.mutable_locality()->set_region(word());
        if (w.has_locality() && coin()) w.mutable_locality()->set_subzone(word());
        w.set_network_mode(static_cast<istio::workload::NetworkMode>(below(2)));
        if (coin()) w.mutable_capacity()->set_value(coin() ? 0 : 2 + below(1000));
        return w;
    }

    istio::workload::Service service() {
        istio::workload::Service s;
        s.set_name(word());
        s.set_namespace_(word());
        s.set_hostname("*." + word());
        for (uint32_t i = below(3); i > 0; --i) {
            s.add_addresses()->set_address(address());
            s.mutable_addresses(s.addresses_size() - 1)->set_network(maybe());
        }
        for (uint32_t i = below(3); i > 0; --i) {
            auto& prefix = *s.add_addresses();
            const uint32_t length = 8 * (1 + below(3));
            prefix.set_address(std::string(1, static_cast<char>(1 + below(100))) + std::string(3, '\0'));
            prefix.set_length(length);
        }
        for (uint32_t i = below(4); i > 0; --i) {
            auto& port = *s.add_ports();
            port.set_service_port(below(65536));
            port.set_target_port(below(65536));
            port.set_app_protocol(static_cast<istio::workload::AppProtocol>(below(6)));
        }
        for (uint32_t i = below(2); i > 0; --i) s.add_subject_alt_names("spiffe://" + word() + "/ns/" + word() + "/sa/" + word());
        if (coin()) fill(*s.mutable_waypoint());
        if (coin()) {
            auto& balancing = *s.mutable_load_balancing();
            for (uint32_t i = below(4); i > 0; --i)
                balancing.add_routing_preference(static_cast<istio::workload::LoadBalancing::Scope>(1 + below(6)));
            balancing.set_mode(static_cast<istio::workload::LoadBalancing::Mode>(below(4)));
            balancing.set_health_policy(static_cast<istio::workload::LoadBalancing::HealthPolicy>(below(2)));
        }
        s.set_ip_families(static_cast<istio::workload::IPFamilies>(below(4)));
        s.set_canonical(coin());
        s.set_ingress_use_waypoint(coin());
        for (uint32_t i = below(3); i > 0; --i) {
            auto& weighted = *s.add_weighted_waypoints();
            fill(*weighted.mutable_destination());
            weighted.set_weight(below(1000));
        }
        s.set_visibility(static_cast<istio::workload::Service::Visibility>(below(2)));
        return s;
    }

    istio::security::Authorization authorization() {
        istio::security::Authorization a;
        a.set_name(word());
        a.set_namespace_(word());
        a.set_scope(static_cast<istio::security::Scope>(below(3)));
        a.set_action(static_cast<istio::security::Action>(below(2)));
        a.set_dry_run(coin());
        for (uint32_t rules = below(4); rules > 0; --rules) {
            auto& rule = *a.add_rules();
            for (uint32_t clauses = below(3); clauses > 0; --clauses) {
                auto& clause = *rule.add_clauses();
                for (uint32_t matches = below(3); matches > 0; --matches) fill(*clause.add_matches());
            }
        }
        return a;
    }

  private:
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_.below(n)); }
    bool coin() { return below(2) == 1; }
    std::string word() {
        std::string out;
        for (uint32_t n = 1 + below(12); n > 0; --n) out += static_cast<char>('a' + below(26));
        return out;
    }
    std::string maybe() { return coin() ? word() : std::string(); }
    std::string address() {
        std::string out(coin() ? 4 : 16, '\0');
        for (char& c : out) c = static_cast<char>(1 + below(255));  // no zeros, so never mapped
        return out;
    }

    void fill(istio::workload::GatewayAddress& to) {
        to.set_hbone_mtls_port(below(65536));
        if (coin()) {
            to.mutable_hostname()->set_namespace_(word());
            to.mutable_hostname()->set_hostname(maybe());
        } else {
            to.mutable_address()->set_network(maybe());
            to.mutable_address()->set_address(address());
        }
    }

    void fill(istio::security::StringMatch& to) {
        switch (below(4)) {
            case 0: return to.set_exact(maybe());
            case 1: return to.set_prefix(maybe());
            case 2: return to.set_suffix(maybe());
            default: to.mutable_presence();
        }
    }
    void fill(istio::security::Address& to) {
        to.set_address(address());
        to.set_length(static_cast<uint32_t>(to.address().size() * 8));
    }
    void fill(istio::security::ServiceAccountMatch& to) {
        to.set_namespace_(word());
        to.set_serviceaccount(word());
    }
    template <class Message>
    void fill(google::protobuf::RepeatedPtrField<Message>& to) {
        if (!coin()) return;
        for (uint32_t n = below(3); n > 0; --n) fill(*to.Add());
    }
    void fill(istio::security::Match& to) {
        fill(*to.mutable_namespaces());
        fill(*to.mutable_not_namespaces());
        fill(*to.mutable_principals());
        fill(*to.mutable_not_principals());
        fill(*to.mutable_source_ips());
        fill(*to.mutable_not_source_ips());
        fill(*to.mutable_destination_ips());
        fill(*to.mutable_not_destination_ips());
        if (coin()) to.add_destination_ports(below(65536));
        if (coin()) to.add_not_destination_ports(below(65536));
        fill(*to.mutable_service_accounts());
        fill(*to.mutable_not_service_accounts());
    }

    policy::Random random_;
};

}  // namespace warren::tests
