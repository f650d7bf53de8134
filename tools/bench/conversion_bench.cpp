// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/conversion_bench.h"

#include "agent/cluster/mesh_resources.h"
#include "agent/cluster/object_store.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <time.h>

#include <algorithm>
#include <functional>

namespace warren::bench {

namespace {

using namespace warren::cluster;

constexpr uint32_t kNamespaces = 100, kNodes = 500;

// Of this thread's processor: a busy machine does not count.
double cpu_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

std::string numbered(const char* stem, uint32_t n) { return stem + std::to_string(n); }

ObjectMeta named(const char* stem, uint32_t n) {
    ObjectMeta out;
    out.name = numbered(stem, n);
    return out;
}

struct Mesh {
    explicit Mesh(const ConversionBenchOptions& o) : options(o) {}

    Pod pod(uint32_t i, uint32_t round) const {
        Pod out;
        out.meta.ns = numbered("ns", i % kNamespaces);
        out.meta.name = numbered("pod-", i);
        out.meta.uid = numbered("uid-", i);
        out.meta.labels = {{"app", numbered("app", i % options.services)}, {"version", numbered("v", round)}, {"tier", "backend"}};
        out.service_account = "default";
        out.node = numbered("node-", i % kNodes);
        out.phase = "Running";
        out.ready = true;
        out.ips = {*base::IpAddr::parse(fmt::format("10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255))};
        out.tcp_ports = {{"http", 8080}};
        return out;
    }
    KubeService service(uint32_t i, uint32_t round) const {
        KubeService out;
        out.meta.ns = numbered("ns", i % kNamespaces);
        out.meta.name = numbered("svc-", i);
        out.selector = {{"app", numbered("app", i)}};
        out.cluster_ips = {*base::IpAddr::parse(fmt::format("172.{}.{}.{}", 16 + (i >> 16), i >> 8 & 255, i & 255))};
        out.ip_families = {"IPv4"};
        out.ports = {{"http", false, 80, 0, "http", {}}, {"metrics", false, 9090, static_cast<uint16_t>(9'000 + round % 100), "", {}}};
        return out;
    }
    AuthorizationPolicy policy(uint32_t i, uint32_t round) const {
        AuthorizationPolicy out;
        out.meta.ns = numbered("ns", i % kNamespaces);
        out.meta.name = numbered("policy-", i);
        out.selector = {{"app", numbered("app", (i + round * kNamespaces) % options.services)}};
        MatchSpec from;
        from.principals.is.good = {numbered("cluster.local/ns/ns1/sa/account", i)};
        from.principals.is.given = true;
        RuleSpec rule;
        rule.from.push_back(from);
        out.rules.push_back(rule);
        return out;
    }

    template <class T>
    void set(ObjectKind kind, std::vector<T> Objects::* list, T object) {
        Objects one;
        std::string key = object.meta.key();
        (one.*list).push_back(std::move(object));
        store.upsert(kind, one);
        changes.push_back({.kind = kind, .key = key, .at = store.position(kind, key)});
    }
    double update() {
        const double begin = cpu_ms();
        conversion.update(store.objects(), changes, resources);
        changes.clear();
        return cpu_ms() - begin;
    }

    const ConversionBenchOptions& options;
    ObjectStore store;
    std::vector<Change> changes;
    Conversion conversion{Settings{}};
    MeshResources resources{false};
};

struct Timing {
    double median = 0, worst = 0;
};

Timing measure(Mesh& mesh, const std::function<void(uint32_t)>& change) {
    std::vector<double> times;
    for (uint32_t round = 1; round <= mesh.options.rounds; ++round) {
        change(round);
        times.push_back(mesh.update());
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.back()};
}

}  // namespace

base::Result<std::string> conversion_bench(const ConversionBenchOptions& options) {
    Mesh mesh(options);
    for (uint32_t i = 0; i < kNamespaces; ++i) mesh.set(ObjectKind::Namespace, &Objects::namespaces, Namespace{named("ns", i)});
    for (uint32_t i = 0; i < kNodes; ++i) mesh.set(ObjectKind::Node, &Objects::nodes, KubeNode{named("node-", i)});
    for (uint32_t i = 0; i < options.services; ++i) mesh.set(ObjectKind::Service, &Objects::services, mesh.service(i, 0));
    for (uint32_t i = 0; i < options.pods; ++i) mesh.set(ObjectKind::Pod, &Objects::pods, mesh.pod(i, 0));
    for (uint32_t i = 0; i < options.policies; ++i)
        mesh.set(ObjectKind::AuthorizationPolicy, &Objects::authorization_policies, mesh.policy(i, 0));
    mesh.changes.clear();
    const double whole = mesh.update();
    uint32_t next = 0;
    const auto one_pod = [&](uint32_t round) {
        mesh.set(ObjectKind::Pod, &Objects::pods, mesh.pod((next += 7'919) % options.pods, round));
    };
    const Timing pod = measure(mesh, one_pod);
    const Timing batch = measure(mesh, [&](uint32_t round) {
        for (uint32_t i = 0; i < options.batch; ++i) one_pod(round);
    });
    const Timing service = measure(
        mesh, [&](uint32_t round) { mesh.set(ObjectKind::Service, &Objects::services, mesh.service(round % options.services, round)); });
    const Timing policy = measure(mesh, [&](uint32_t round) {
        mesh.set(ObjectKind::AuthorizationPolicy, &Objects::authorization_policies, mesh.policy(round % options.policies, round));
    });
    if (options.json)
        return nlohmann::json{{"whole_ms", whole},
                              {"pod_ms", pod.median},
                              {"pod_worst_ms", pod.worst},
                              {"batch_ms", batch.median},
                              {"batch_worst_ms", batch.worst},
                              {"service_ms", service.median},
                              {"service_worst_ms", service.worst},
                              {"policy_ms", policy.median},
                              {"policy_worst_ms", policy.worst}}
                   .dump(2) +
               "\n";
    return fmt::format(
        "{} pods, {} services, {} policies; milliseconds of one processor, objects to encoded resources\n"
        "everything              {:9.1f}\n"
        "one pod changed         {:9.3f} (median) {:9.3f} (worst of {})\n"
        "{:5} pods changed      {:9.3f} (median) {:9.3f} (worst)\n"
        "one service's ports     {:9.3f} (median) {:9.3f} (worst)\n"
        "one policy's selector   {:9.3f} (median) {:9.3f} (worst)\n",
        options.pods, options.services, options.policies, whole, pod.median, pod.worst, options.rounds, options.batch, batch.median,
        batch.worst, service.median, service.worst, policy.median, policy.worst);
}

}  // namespace warren::bench
