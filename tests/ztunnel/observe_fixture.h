// SPDX-License-Identifier: Apache-2.0
// The mesh that the samples of tests/golden/observability were taken from, and what catches log lines.
#pragma once

#include "base/fd.h"
#include "base/log.h"
#include "policy/snapshot.h"
#include "tests/catch.h"
#include "tests/policy/mesh_builder.h"
#include "ztunnel/traffic.h"

#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace warren::tests {

inline std::string golden(const std::string& name) {
    std::ifstream in(std::string(WARREN_SOURCE_DIR) + "/tests/golden/observability/" + name);
    REQUIRE(in.good());
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

// The log of this process while it lives.
class LogCapture {
  public:
    explicit LogCapture(base::log::Format format = base::log::Format::Text, const char* filter = "info")
        : fd_(::memfd_create("log", MFD_CLOEXEC)) {
        base::log::Options options;
        options.fd = fd_.get();
        options.format = format;
        options.full_deadline = std::chrono::seconds(10);
        REQUIRE(base::log::start(options).has_value());
        base::log::set_filter(base::log::Filter::parse(filter).value());
    }
    ~LogCapture() {
        base::log::stop();
        base::log::set_filter(base::log::Filter());
    }
    std::vector<std::string> lines() {
        REQUIRE(base::log::flush(std::chrono::seconds(10)));
        std::string text(static_cast<size_t>(::lseek(fd_.get(), 0, SEEK_END)), '\0');
        REQUIRE(::pread(fd_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
        return lines_of(text);
    }

  private:
    base::Fd fd_;
};

struct SamplePod {
    const char *name, *account, *revision, *node, *zone, *address;
    bool in_service;
};
inline constexpr SamplePod kSamplePods[] = {
    {"p1", "client", "latest", "n1", "z1", "10.77.1.2", false},   {"p1b", "server", "latest", "n1", "z1", "10.77.1.3", true},
    {"p2", "server", "v2", "n2", "z2", "10.77.2.2", true},        {"p2b", "other", "latest", "n2", "z2", "10.77.2.3", false},
    {"zt1", "ztunnel", "latest", "n1", "z1", "10.77.0.1", false}, {"zt2", "ztunnel", "latest", "n2", "z2", "10.77.0.2", false},
};

inline policy::WorkloadRef sample_workload(const SamplePod& pod) {
    using namespace policy;
    const auto w = make_ref<Workload>();
    const bool tunnel = std::string_view(pod.account) == "ztunnel";
    w->ns = Text(tunnel ? "istio-system" : "default");
    w->uid = Text("Kubernetes//Pod/" + w->ns.str() + "/" + pod.name);
    w->name = w->workload_name = Text(pod.name);
    w->service_account = w->canonical_name = Text(pod.account);
    w->canonical_revision = Text(pod.revision);
    w->trust_domain = Text("cluster.local");
    w->cluster_id = Text("Kubernetes");
    w->node = Text(pod.node);
    w->locality = {Text("r1"), Text(pod.zone), Text()};
    w->addresses = {ip(pod.address)};
    w->type = WorkloadType::Pod;
    w->tunnel_protocol = tunnel ? TunnelProtocol::None : TunnelProtocol::Hbone;
    if (pod.in_service) w->services = {WorkloadService{Text("default/server.default.svc.cluster.local"), {PortPair{80, 7000}}}};
    if (pod.in_service) w->authorization_policies = {Text("default/allow-client"), Text("istio-system/istio_converted_static_strict")};
    if (!pod.in_service && !tunnel) w->authorization_policies = {Text("istio-system/istio_converted_static_strict")};
    return w;
}

inline policy::WorkloadRef sample_apiserver() {
    using namespace policy;
    const auto w = make_ref<Workload>();
    w->uid = Text("Kubernetes/discovery.k8s.io/EndpointSlice/default/kubernetes/192.0.2.2");
    w->name = Text("kubernetes");
    w->ns = w->service_account = Text("default");
    w->trust_domain = Text("cluster.local");
    w->cluster_id = Text("Kubernetes");
    w->network_mode = NetworkMode::HostNetwork;
    w->addresses = {ip("192.0.2.2")};
    w->services = {WorkloadService{Text("default/kubernetes.default.svc.cluster.local"), {PortPair{443, 26443}}}};
    return w;
}

inline policy::ServiceRef sample_service(const char* name, const char* vip, policy::ServicePort port) {
    using namespace policy;
    const auto s = make_ref<Service>();
    s->name = Text(name);
    s->ns = Text("default");
    s->hostname = Text(std::string(name) + ".default.svc.cluster.local");
    s->key = Text("default/" + s->hostname.str());
    s->vips = {at(vip)};
    s->ports = {port};
    s->ip_families = IpFamilies::V4Only;
    s->canonical = true;
    return s;
}

inline policy::Batch sample_batch() {
    using namespace policy;
    Batch batch;
    for (const SamplePod& pod : kSamplePods) batch.workloads.push_back(sample_workload(pod));
    batch.workloads.push_back(sample_apiserver());
    batch.services.push_back(sample_service("server", "10.96.0.50", {80, 7000}));
    batch.services.push_back(sample_service("kubernetes", "10.96.0.1", {443, 26443}));
    PolicySpec allow = policy_spec("default/allow-client", Scope::WorkloadSelector, PolicyAction::Allow);
    Match port, client;
    port.destination_ports.any_of = {7000};
    client.principals.any_of = {{StringMatch::Kind::Exact, Text("cluster.local/ns/default/sa/client")}};
    allow.rules = {{{port}, {client}}};
    PolicySpec strict = policy_spec("istio-system/istio_converted_static_strict", Scope::WorkloadSelector, PolicyAction::Deny);
    Match plaintext;
    plaintext.principals.none_of = {{StringMatch::Kind::Presence, Text()}};
    strict.rules = {{{plaintext}}};
    batch.policies = {std::move(allow), std::move(strict)};
    return batch;
}

// One record that a sample's connection would have made.
struct SampleEnds {
    policy::WorkloadRef p1 = sample_workload(kSamplePods[0]), p1b = sample_workload(kSamplePods[1]), p2 = sample_workload(kSamplePods[2]),
                        p2b = sample_workload(kSamplePods[3]);
    policy::ServiceRef server = sample_service("server", "10.96.0.50", {80, 7000});

    static base::SockAddr addr(const char* text) { return base::SockAddr::parse(text).value(); }
    [[nodiscard]] static ztunnel::TrafficFacts facts(ztunnel::Direction direction, const policy::WorkloadRef& src,
                                                     const policy::WorkloadRef& dst, const policy::ServiceRef& service = nullptr) {
        ztunnel::TrafficFacts f;
        f.direction = direction;
        f.kind = ztunnel::TunnelKind::Hbone;
        f.src_workload = src;
        f.dst_workload = dst;
        f.dst_service = service;
        f.src_identity = src->identity().uri();
        f.dst_identity = dst->identity().uri();
        f.mutual_tls = true;
        return f;
    }
    [[nodiscard]] static ztunnel::TrafficFacts between(ztunnel::TrafficFacts f, const char* src, const char* dst, const char* hbone) {
        f.src = addr(src);
        f.dst = addr(dst);
        f.hbone_addr = hbone;
        return f;
    }
};

}  // namespace warren::tests
