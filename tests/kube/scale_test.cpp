// SPDX-License-Identifier: Apache-2.0
// Numbers, printed and not judged; run by name: kube_api_test "[scale]". Ten thousand pods take some minutes to make.
#include "tests/catch.h"
#include "tests/kube/mesh_at.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

using namespace warren;
using namespace warren::tests;
using nlohmann::json;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPods = 10'000, kServices = 2'000, kPolicies = 500, kNamespaces = 50;

double ms_since(Clock::time_point began) { return std::chrono::duration<double, std::milli>(Clock::now() - began).count(); }

// Of /proc/self/status, in MiB.
size_t memory(const std::string& field) {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(field + ':')) return std::stoul(line.substr(field.size() + 1)) / 1024;
    return 0;
}

std::string ns_of(int i) { return "ns" + std::to_string(i % kNamespaces); }

// As a Deployment makes them, with the environment, mounts and probes that pods have.
json pod(int i) {
    json env = json::array(), mounts = json::array();
    for (int k = 0; k < 12; ++k) env.push_back({{"name", "SETTING_" + std::to_string(k)}, {"value", "some value of an ordinary length"}});
    for (int k = 0; k < 4; ++k) mounts.push_back({{"name", "v" + std::to_string(k)}, {"mountPath", "/data/" + std::to_string(k)}});
    json volumes = json::array();
    for (int k = 0; k < 4; ++k) volumes.push_back({{"name", "v" + std::to_string(k)}, {"emptyDir", json::object()}});
    const std::string app = "app" + std::to_string(i % kServices / kNamespaces);
    return {{"metadata",
             {{"name", app + "-7d4b9c6f5d-" + std::to_string(i)},
              {"namespace", ns_of(i)},
              {"labels", {{"app", app}, {"pod-template-hash", "7d4b9c6f5d"}, {"version", "v1"}, {"team", "payments"}}},
              {"annotations", {{"ambient.istio.io/redirection", "enabled"}, {"prometheus.io/scrape", "true"}}},
              {"ownerReferences",
               {{{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"name", app + "-7d4b9c6f5d"}, {"uid", "u"}, {"controller", true}}}}}},
            {"spec",
             {{"nodeName", "n" + std::to_string(i % 100)},
              {"serviceAccountName", app},
              {"volumes", volumes},
              {"containers",
               {{{"name", "main"},
                 {"image", "registry.example/team/app:v1"},
                 {"env", env},
                 {"volumeMounts", mounts},
                 {"ports", {{{"name", "http"}, {"containerPort", 8080}}}}}}}}}};
}

json pod_status(int i) {
    const std::string ip = "10." + std::to_string(100 + i / 65536) + '.' + std::to_string(i / 256 % 256) + '.' + std::to_string(i % 256);
    return {{"status",
             {{"phase", "Running"},
              {"podIP", ip},
              {"podIPs", {{{"ip", ip}}}},
              {"conditions", {{{"type", "Ready"}, {"status", "True"}}, {{"type", "Initialized"}, {"status", "True"}}}}}}};
}

void must(const base::Result<std::string>& done) {
    if (done || done.error().code == base::Errc::Exists) return;
    std::fprintf(stderr, "%s\n", done.error().message().c_str());
    ::_exit(1);
}

void make_part(const std::shared_ptr<kube::Endpoint>& endpoint, int part, int parts) {
    kube::Client client(endpoint, {.total = std::chrono::seconds(60)});
    const auto post = [&](const std::string& path, const json& body) { must(client.call({kube::Method::Post, path, body.dump()})); };
    for (int i = part; i < kPods; i += parts) {
        const json object = pod(i);
        const std::string path = "/api/v1/namespaces/" + ns_of(i) + "/pods";
        post(path, object);
        must(client.merge(path + '/' + object["metadata"]["name"].get<std::string>() + "/status", pod_status(i).dump()));
    }
    for (int i = part; i < kServices; i += parts) {
        const std::string app = "app" + std::to_string(i / kNamespaces);
        post("/api/v1/namespaces/" + ns_of(i) + "/services",
             {{"metadata", {{"name", app}}},
              {"spec", {{"selector", {{"app", app}}}, {"ports", {{{"name", "http"}, {"port", 80}, {"targetPort", 8080}}}}}}});
    }
    for (int i = part; i < kPolicies; i += parts) {
        json spec = {{"selector", {{"matchLabels", {{"app", "app" + std::to_string(i / kNamespaces)}}}}},
                     {"rules", {{{"from", {{{"source", {{"namespaces", {ns_of(i + 1)}}}}}}}}}}};
        post("/apis/security.istio.io/v1/namespaces/" + ns_of(i) + "/authorizationpolicies",
             {{"apiVersion", "security.istio.io/v1"},
              {"kind", "AuthorizationPolicy"},
              {"metadata", {{"name", "p" + std::to_string(i)}}},
              {"spec", spec}});
    }
}

// In a process of its own, so that its memory is not ours.
void make_all(ApiServer& server) {
    std::string small;
    for (int i = 0; i < kNamespaces; ++i) small += "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns_of(i) + "}\n";
    for (int i = 0; i < 100; ++i) small += "---\napiVersion: v1\nkind: Node\nmetadata: {name: n" + std::to_string(i) + "}\n";
    server.apply(small);
    const pid_t child = ::fork();
    if (child == 0) {
        std::vector<std::thread> threads;
        for (int part = 0; part < 8; ++part) threads.emplace_back([&server, part] { make_part(server.endpoint(), part, 8); });
        for (std::thread& one : threads) one.join();
        ::_exit(0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
}

struct Measure : cluster::SourceHandler {
    void changed(const cluster::Objects& objects, const std::vector<cluster::Change>& changes) override {
        const auto began = Clock::now();
        cluster::Diagnostics problems;
        auto converted = cluster::convert(objects, {}, problems);
        const double took = ms_since(began);
        const std::lock_guard lock(mutex);
        outputs = std::move(converted);
        convert_ms = took;
        changed_count += changes.size();
        ++calls;
        last = Clock::now();
    }
    std::mutex mutex;
    cluster::Outputs outputs;
    double convert_ms = 0;
    size_t calls = 0, changed_count = 0;
    Clock::time_point last;
};

}  // namespace

TEST_CASE("kube: ten thousand pods", "[.][scale]") {
    ApiServer server;
    server.install_definitions();
    auto began = Clock::now();
    make_all(server);
    std::printf("objects made in %.0f ms, resident %zu MiB before the source\n", ms_since(began), memory("VmRSS"));
    Measure measure;
    const auto calls = [&] {
        const std::lock_guard lock(measure.mutex);
        return measure.calls;
    };
    began = Clock::now();
    auto source = cluster::KubeSource::create(server.endpoint());
    REQUIRE(source);
    (*source)->start(measure);
    REQUIRE(eventually([&] { return calls() > 0; }, std::chrono::seconds(120)));
    std::printf("start to converted: %.0f ms, of it conversion %.0f ms\n", ms_since(began), measure.convert_ms);
    std::printf("workloads %zu, services %zu, policies %zu; resident %zu MiB, peak %zu MiB\n", measure.outputs.workloads.size(),
                measure.outputs.services.size(), measure.outputs.authorizations.size(), memory("VmRSS"), memory("VmHWM"));
    CHECK(measure.outputs.workloads.size() == kPods);
    for (int round = 0; round < 5; ++round) {
        const size_t before = calls();
        began = Clock::now();
        const std::string path = "/api/v1/namespaces/" + ns_of(round) + "/pods/" + pod(round)["metadata"]["name"].get<std::string>();
        REQUIRE(server.admin().merge(path, json{{"metadata", {{"labels", {{"round", std::to_string(round)}}}}}}.dump()));
        REQUIRE(eventually([&] { return calls() > before; }, std::chrono::seconds(60)));
        std::printf("one change: written to converted %.0f ms, of it conversion %.0f ms\n", ms_since(began), measure.convert_ms);
    }
    std::printf("resident %zu MiB, peak %zu MiB\n", memory("VmRSS"), memory("VmHWM"));
    (*source)->stop();
}
