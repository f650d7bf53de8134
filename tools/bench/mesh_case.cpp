// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/mesh_case.h"

#include "base/fd.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <fmt/format.h>

#include <cstring>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace warren::bench {

namespace {

// Namespaces hold 20 services each; workloads spread over services and nodes as round robin.
constexpr uint32_t kServicesPerNamespace = 20, kPodsPerNode = 100;

std::string namespace_of_service(uint32_t service) { return fmt::format("team-{:04}", service / kServicesPerNamespace); }
std::string host_of_service(uint32_t service) {
    return fmt::format("svc-{:05}.{}.svc.cluster.local", service, namespace_of_service(service));
}
std::string address(uint8_t first, uint32_t index) {
    const uint32_t n = (static_cast<uint32_t>(first) << 24) + index + 1;
    return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
}

void fill_workload(uint32_t i, const MeshSize& size, istio::workload::Workload& w) {
    const uint32_t service = i % size.services;
    const std::string ns = namespace_of_service(service);
    w.set_name(fmt::format("svc-{:05}-7d4b9c6f5-{:05x}", service, i));
    w.set_namespace_(ns);
    w.set_uid(fmt::format("Kubernetes//Pod/{}/{}", ns, w.name()));
    w.add_addresses(address(10, i));
    w.set_tunnel_protocol(istio::workload::HBONE);
    w.set_service_account(fmt::format("svc-{:05}", service));
    w.set_node(fmt::format("node-{:04}", i / kPodsPerNode));
    w.set_canonical_name(fmt::format("svc-{:05}", service));
    w.set_canonical_revision("v1");
    w.set_workload_type(istio::workload::DEPLOYMENT);
    w.set_workload_name(fmt::format("svc-{:05}", service));
    w.set_cluster_id("Kubernetes");
    w.mutable_locality()->set_region(fmt::format("region-{}", i % 3));
    w.mutable_locality()->set_zone(fmt::format("zone-{}", i % 9));
    auto* port = (*w.mutable_services())[ns + '/' + host_of_service(service)].add_ports();
    port->set_service_port(80);
    port->set_target_port(8080);
    if (i % 50 == 0) w.add_authorization_policies(fmt::format("{}/policy-{:04}", ns, i / 50 % size.policies));
}

std::string workload_bytes(uint32_t i, const MeshSize& size) {
    istio::workload::Address resource;
    fill_workload(i, size, *resource.mutable_workload());
    return resource.SerializeAsString();
}

std::string service_bytes(uint32_t i) {
    istio::workload::Address resource;
    auto& s = *resource.mutable_service();
    s.set_name(fmt::format("svc-{:05}", i));
    s.set_namespace_(namespace_of_service(i));
    s.set_hostname(host_of_service(i));
    s.add_addresses()->set_address(address(172, i));
    for (const uint32_t number : {80u, 443u}) {
        auto* port = s.add_ports();
        port->set_service_port(number);
        port->set_target_port(number == 80 ? 8080 : 8443);
    }
    s.set_ip_families(istio::workload::IPV4_ONLY);
    return resource.SerializeAsString();
}

std::string policy_bytes(uint32_t i, const MeshSize& size, std::string& name) {
    istio::security::Authorization a;
    const std::string ns = namespace_of_service(i % size.services);
    a.set_name(fmt::format("policy-{:04}", i));
    a.set_namespace_(ns);
    name = ns + '/' + a.name();
    a.set_scope(istio::security::WORKLOAD_SELECTOR);
    a.set_action(i % 4 == 0 ? istio::security::DENY : istio::security::ALLOW);
    for (uint32_t r = 0; r < size.rules; ++r) {
        auto* rule = a.add_rules();
        auto* from = rule->add_clauses()->add_matches();
        for (uint32_t p = 0; p < 2; ++p) {
            const uint32_t service = (i * 31 + r * 7 + p) % size.services;
            from->add_principals()->set_exact(fmt::format("cluster.local/ns/{}/sa/svc-{:05}", namespace_of_service(service), service));
        }
        auto* to = rule->add_clauses()->add_matches();
        to->add_destination_ports(8080);
        to->add_destination_ports(8443);
    }
    return a.SerializeAsString();
}

// Record: kind, name length, body length, name, body.
struct Head {
    uint32_t kind, name, body;
};

void write_all(std::FILE* file, const MeshSize& size) {
    auto put = [file](ResourceKind kind, const std::string& name, const std::string& body) {
        const Head head{static_cast<uint32_t>(kind), static_cast<uint32_t>(name.size()), static_cast<uint32_t>(body.size())};
        std::fwrite(&head, sizeof head, 1, file);
        std::fwrite(name.data(), 1, name.size(), file);
        std::fwrite(body.data(), 1, body.size(), file);
    };
    for (uint32_t i = 0; i < size.services; ++i) put(ResourceKind::Address, {}, service_bytes(i));
    for (uint32_t i = 0; i < size.workloads; ++i) put(ResourceKind::Address, {}, workload_bytes(i, size));
    for (uint32_t i = 0; i < size.policies; ++i) {
        std::string name;
        const std::string body = policy_bytes(i, size, name);
        put(ResourceKind::Policy, name, body);
    }
}

}  // namespace

base::Result<MeshCase> MeshCase::make(const MeshSize& size) {
    base::Fd fd(::memfd_create("mesh", MFD_CLOEXEC));
    if (!fd.valid()) return base::os_error("memfd_create");
    const pid_t child = ::fork();
    if (child < 0) return base::os_error("fork");
    if (child == 0) {
        std::FILE* file = ::fdopen(::dup(fd.get()), "wb");
        if (file == nullptr) ::_exit(1);
        write_all(file, size);
        ::_exit(std::fclose(file) == 0 ? 0 : 1);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0)
        return base::Error{base::Errc::Internal, 0, "", "the process that makes the mesh failed"};
    const off_t end = ::lseek(fd.get(), 0, SEEK_END);
    void* data = ::mmap(nullptr, static_cast<size_t>(end), PROT_READ, MAP_SHARED, fd.get(), 0);
    if (data == MAP_FAILED) return base::os_error("mmap");
    return MeshCase(data, static_cast<size_t>(end));
}

MeshCase::MeshCase(MeshCase&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(o.size_) {}

MeshCase::~MeshCase() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

void MeshCase::each(const std::function<void(ResourceKind, std::string_view, std::span<const uint8_t>)>& fn) const {
    const auto* p = static_cast<const uint8_t*>(data_);
    for (const uint8_t* end = p + size_; p < end;) {
        Head head{};
        std::memcpy(&head, p, sizeof head);
        p += sizeof head;
        const std::string_view name(reinterpret_cast<const char*>(p), head.name);
        fn(static_cast<ResourceKind>(head.kind), name, {p + head.name, head.body});
        p += head.name + head.body;
    }
}

std::string changed_workload(uint32_t index, uint32_t round, const MeshSize& size) {
    istio::workload::Address resource;
    fill_workload(index, size, *resource.mutable_workload());
    resource.mutable_workload()->mutable_capacity()->set_value(round + 2);
    return resource.SerializeAsString();
}

}  // namespace warren::bench
