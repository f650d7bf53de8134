// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/config_dump.h"

#include "tests/ztunnel/observe_fixture.h"

#include <nlohmann/json.hpp>

#include <atomic>
#include <mutex>
#include <thread>

using namespace warren;
using namespace warren::tests;
using namespace warren::ztunnel;
using nlohmann::json;

namespace {

std::string decode64(const std::string& text) {
    static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t group = 0, bits = 0;
    for (const char c : text) {
        if (c == '=') break;
        group = group << 6 | static_cast<uint32_t>(digits.find(c));
        if ((bits += 6) >= 8) out += static_cast<char>(group >> (bits -= 8) & 255);
    }
    return out;
}

// A credential that says what the sample says.
class SampleCredential final : public Credential {
  public:
    explicit SampleCredential(const json& of) : identity_(policy::Identity::parse(of.at("identity").get<std::string>()).value()) {
        for (const auto& c : of.at("certChain")) chain_.push_back(info(c));
        for (const auto& c : of.at("rootCerts")) roots_.push_back(info(c));
    }
    [[nodiscard]] const policy::Identity& identity() const override { return identity_; }
    [[nodiscard]] const std::vector<CertificateInfo>& chain() const override { return chain_; }
    [[nodiscard]] const std::vector<CertificateInfo>& roots() const override { return roots_; }
    [[nodiscard]] size_t skipped_roots() const override { return 0; }

  private:
    static CertificateInfo info(const json& c) {
        return {decode64(c.at("pem")), c.at("serialNumber"), base::parse_rfc3339(c.at("validFrom").get<std::string>()).value(),
                base::parse_rfc3339(c.at("expirationTime").get<std::string>()).value()};
    }
    policy::Identity identity_;
    std::vector<CertificateInfo> chain_, roots_;
};

std::shared_ptr<const PodInfo> pod(const char* name, const char* account) {
    return std::make_shared<PodInfo>(PodInfo{name, name, "default", account, std::nullopt});
}

LiveConnection outbound(const policy::WorkloadRef& local, const char* src) {
    LiveConnection c;
    c.kind = TunnelKind::Hbone;
    c.mutual_tls = true;
    c.src = SampleEnds::addr(src);
    c.dst = SampleEnds::addr("10.77.2.2:15008");
    c.original_dst = SampleEnds::addr("10.77.2.2:7000");
    c.local = local;
    return c;
}

}  // namespace

TEST_CASE("config dump: test_dump_certs, test_dump_config, test_proxy_state: every part of the sample") {
    const json wanted = json::parse(golden("config_dump.json"));
    policy::Mesh mesh;
    const auto settings = read_settings({});
    REQUIRE(settings);
    DumpState state;
    state.mesh = mesh.apply(sample_batch());
    state.settings = &*settings;
    for (auto at = wanted.at("certificates").rbegin(); at != wanted.at("certificates").rend(); ++at) {
        const auto credential = std::make_shared<SampleCredential>(*at);
        state.certificates.push_back({credential->identity(), "Available", credential});
    }
    const SampleEnds e;
    state.pods = {{pod("p1", "client"), true}, {pod("p1b", "server"), true}};
    for (const char* src : {"10.77.1.2:39588", "10.77.1.2:39580", "10.77.1.2:39598"}) state.connections.push_back(outbound(e.p1, src));
    state.version = "0.1";
    const json got = json::parse(config_dump(state));
    for (const char* part : {"certificates", "policies", "services", "stagedServices", "workloadState", "workloads"}) {
        INFO(part);
        CHECK(json::diff(wanted.at(part), got.at(part)).dump(1) == "[]");
    }
    for (const char* part : {"config", "version"})
        for (const auto& key : wanted.at(part)) {
            INFO(part << "." << key);
            CHECK(got.at(part).contains(key.get<std::string>()));
        }
    CHECK(got.at("staticConfig") == json::parse(R"({"workloads":[],"services":[],"policies":[]})"));
}

TEST_CASE("config dump: inbound connections, pending pods, pending certificates, staged and static records, refused policies, odd bytes") {
    policy::Mesh mesh, file;
    policy::Batch batch = sample_batch();
    batch.services.pop_back();
    batch.policies.push_back(refusal("prod/broken", policy::Scope::Global));
    WorkloadSpec odd{.uid = "odd\xff\n", .addresses = {"10.0.0.1"}};
    batch.workloads.push_back(workload(odd));
    DumpState state;
    state.mesh = mesh.apply(std::move(batch));
    state.static_mesh = file.apply(sample_batch());
    state.certificates.push_back({policy::Identity("td", "a", "b"), "Unavailable: no", nullptr});
    const SampleEnds e;
    state.pods = {{pod("p2", "server"), true}, {pod("late", "x"), false}};
    LiveConnection in = outbound(e.p2, "10.77.1.2:43634");
    in.direction = Direction::Inbound;
    state.connections.push_back(in);
    in.mutual_tls = false;
    in.forwarded_host = "server.default.svc.cluster.local";
    state.connections.push_back(in);
    const json got = json::parse(config_dump(state));
    CHECK(got.at("workloadState") == json::parse(R"({
        "late": {"state": "Pending", "info": {"name": "late", "namespace": "default", "serviceAccount": "x"}},
        "p2": {"state": "Up", "info": {"name": "p2", "namespace": "default", "serviceAccount": "server"}, "connections": {"outbound": [],
          "inbound": [{"actualDst": "10.77.2.2:7000", "originalDst": null, "protocol": "HBONE", "src": "10.77.1.2:43634"},
                      {"actualDst": "10.77.2.2:7000", "originalDst": "server.default.svc.cluster.local", "protocol": "TCP",
                       "src": "10.77.1.2:43634"}]}}})"));
    CHECK(got.at("certificates")[0] ==
          json::parse(R"({"identity":"spiffe://td/ns/a/sa/b","state":"Unavailable: no","certChain":[],"rootCerts":[]})"));
    CHECK(got.at("stagedServices").at("default/kubernetes.default.svc.cluster.local").size() == 1);
    CHECK(got.at("staticConfig").at("workloads")[0].at("services").is_object());
    CHECK(got.at("policies").back().at("refusedBecause").get<std::string>().find("300.1.1.1") != std::string::npos);
}

TEST_CASE("config dump: whole while the mesh and the connections churn") {
    LogCapture capture(base::log::Format::Text, "off");
    base::metrics::Registry registry;
    const auto traffic = make_traffic(registry).value();
    policy::Mesh mesh;
    std::mutex mutex;  // std::atomic<std::shared_ptr> of GCC 12 is a race to the sanitizer: its load unlocks relaxed
    std::shared_ptr<const policy::Snapshot> published = mesh.apply(sample_batch());
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        for (int i = 0; !stop; ++i) {
            policy::Batch batch;
            const std::string uid = "churn-" + std::to_string(i % 50);
            if (i % 3 == 0)
                batch.removed_addresses.push_back(uid);
            else
                batch.workloads.push_back(workload({.uid = uid,
                                                    .addresses = {"10.9.0." + std::to_string(i % 50 + 1)},
                                                    .services = {"default/server.default.svc.cluster.local", "other/staged"}}));
            if (i % 7 == 0) batch.policies.emplace_back(policy_spec("default/p" + std::to_string(i % 5), policy::Scope::Namespace));
            auto next = mesh.apply(std::move(batch));
            const std::scoped_lock lock(mutex);
            published = std::move(next);
        }
    });
    std::vector<std::thread> connections;
    for (int t = 0; t < 2; ++t)
        connections.emplace_back([&] {
            const SampleEnds e;
            std::vector<std::unique_ptr<TrafficRecord>> open(64);
            for (size_t i = 0; !stop; ++i) {
                TrafficFacts f = SampleEnds::facts(i % 2 == 0 ? Direction::Outbound : Direction::Inbound, e.p1, e.p1);
                f.kind = i % 5 == 0 ? TunnelKind::DoubleHbone : TunnelKind::Hbone;
                auto& slot = open[i % open.size()];
                slot = traffic->open(std::move(f));
                slot->add(i, i);
                if (i % 3 == 0) slot->learn_destination({.workload_name = "x"}, "spiffe://a/ns/b/sa/c");
            }
        });
    for (int i = 0; i < 60; ++i) {
        DumpState state;
        {
            const std::scoped_lock lock(mutex);
            state.mesh = published;
        }
        state.pods = {{pod("p1", "client"), true}};
        state.connections = traffic->live();
        const json got = json::parse(config_dump(state));
        CHECK(got.at("workloads").size() == state.mesh->workload_count());
        CHECK(got.at("services").size() == 2);
        CHECK(got.at("workloadState").at("p1").contains("connections"));
        (void)registry.render(base::metrics::Exposition::OpenMetrics);
    }
    stop = true;
    writer.join();
    for (std::thread& t : connections) t.join();
}
