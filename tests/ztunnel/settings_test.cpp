// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/settings.h"

#include "tests/catch.h"
#include "ztunnel/dump_settings.h"
#include "ztunnel/proxy_config.h"
#include "ztunnel/worker_threads.h"

#include <functional>
#include <set>

using namespace warren;
using namespace warren::ztunnel;
using namespace std::chrono_literals;

namespace {

base::Result<Settings> read(Environment env, uint32_t cpus = 8) { return read_settings({std::move(env), std::nullopt, cpus}); }

std::string failure(Environment env) {
    const auto settings = read(std::move(env));
    return settings ? "accepted" : settings.error().message();
}

struct Row {
    const char* variable;
    std::string good;
    const char* bad;  // null: any text is right
    std::function<std::string(const Settings&)> get;
    std::string by_default;
    std::string with_good;
    Environment with = {};  // what else has to be set
};

std::string yes(bool b) { return b ? "true" : "false"; }
std::string ms(std::chrono::milliseconds d) { return std::to_string(d.count()) + "ms"; }

const Environment kNoDns{{"ISTIO_META_DNS_CAPTURE", "false"}};

std::vector<Row> rows_of_process() {
    const auto n = [](auto v) { return std::to_string(v); };
    return {
        {"ENABLE_PROXY", "false", "False", [](const Settings& s) { return yes(s.proxy_enabled); }, "true", "false"},
        {"PROXY_MODE",
         "dedicated",
         "Shared",
         [](const Settings& s) { return yes(s.mode == ProxyMode::Dedicated); },
         "false",
         "true",
         {{"PROXY_WORKLOAD_INFO", "a/b/c"}}},
        {"PROXY_WORKLOAD_INFO", "ns/pod/sa", "ns/pod",
         [](const Settings& s) { return s.workload ? s.workload->ns + s.workload->name + s.workload->service_account : ""; }, "",
         "nspodsa"},
        {"NETWORK", "net", nullptr, [](const Settings& s) { return s.proxy.network.str(); }, "", "net"},
        {"NODE_NAME", "n1", nullptr, [](const Settings& s) { return s.proxy.node_name; }, "", "n1"},
        {"ISTIO_META_CLUSTER_ID",
         "c1",
         nullptr,
         [](const Settings& s) { return s.cluster_id; },
         "Kubernetes",
         "c1",
         {{"CLUSTER_ID", "c0"}}},
        {"CLUSTER_ID", "c0", nullptr, [](const Settings& s) { return s.cluster_id; }, "Kubernetes", "c0"},
        {"CLUSTER_DOMAIN", "x.y", nullptr, [](const Settings& s) { return s.cluster_domain; }, "cluster.local", "x.y"},
        {"INSTANCE_IP", "1.2.3.4", nullptr, [](const Settings& s) { return s.own.instance_ip; }, "", "1.2.3.4"},
        {"POD_NAME", "p", nullptr, [](const Settings& s) { return s.own.pod_name; }, "", "p"},
        {"POD_NAMESPACE", "ns", nullptr, [](const Settings& s) { return s.own.pod_namespace; }, "", "ns"},
        {"SERVICE_ACCOUNT", "sa", nullptr, [](const Settings& s) { return s.own.service_account; }, "", "sa"},
        {"TRUST_DOMAIN", "td", nullptr, [](const Settings& s) { return s.own.trust_domain; }, "cluster.local", "td"},
        {"KUBERNETES_SERVICE_HOST", "10.0.0.1", nullptr, [](const Settings& s) { return s.xds.address; }, "https://localhost:15012",
         "https://istiod.istio-system.svc:15012"},
        {"PROXY_CONFIG", "concurrency: 3", "concurrency: x", [n](const Settings& s) { return n(s.worker_threads); }, "2", "3"},
        {"PREFERED_SERVICE_NAMESPACE", "ns", nullptr, [](const Settings& s) { return s.preferred_service_namespace; }, "", "ns"},
        {"ZTUNNEL_WORKER_THREADS", "51%", "101%", [n](const Settings& s) { return n(s.worker_threads); }, "2", "5"},
        {"ZTUNNEL_CPU_LIMIT", "40", "0", [n](const Settings& s) { return n(s.worker_threads); }, "2", "10"},
        {"ZTUNNEL_RESOURCE_CPU_LIMIT", "1500m", "2x", [n](const Settings& s) { return n(s.worker_threads); }, "2", "2"},
        {"ZTUNNEL_RESOURCE_CPU_REQUEST", "5.1", ".5m", [n](const Settings& s) { return n(s.worker_threads); }, "2", "6"},
    };
}

std::vector<Row> rows_of_control_plane() {
    const std::string roots = "./var/run/secrets/istio/root-cert.pem";
    return {
        {"XDS_ADDRESS", "istiod:15012", "http://istiod:15012", [](const Settings& s) { return s.xds.address; }, "https://localhost:15012",
         "https://istiod:15012"},
        {"CA_ADDRESS", "", "tcp://x", [](const Settings& s) { return s.ca.address; }, "https://localhost:15012", ""},
        {"XDS_ROOT_CA", "SYSTEM", nullptr, [](const Settings& s) { return s.xds.roots; }, roots, "SYSTEM"},
        {"CA_ROOT_CA", "SYSTEM", nullptr, [](const Settings& s) { return s.ca.roots; }, roots, "SYSTEM"},
        {"ALT_XDS_HOSTNAME", "h", nullptr, [](const Settings& s) { return s.xds.alternative_name; }, "", "h"},
        {"ALT_CA_HOSTNAME", "h", nullptr, [](const Settings& s) { return s.ca.alternative_name; }, "", "h"},
        {"AUTH_TOKEN", "t", nullptr, [](const Settings& s) { return s.auth_token; }, "", "t"},
        {"SECRET_TTL", "1h30m", "24", [](const Settings& s) { return ms(s.secret_ttl); }, "86400000ms", "5400000ms"},
        {"FAKE_CA", "false", "true", [](const Settings&) { return "-"; }, "-", "-"},
        {"XDS_ON_DEMAND", "true", "yes", [](const Settings& s) { return yes(s.xds_on_demand); }, "false", "true", kNoDns},
        {"WARREN_XDS_SERVICES",
         "true",
         "yes",
         [](const Settings& s) { return yes(s.on_demand.services); },
         "false",
         "true",
         {{"XDS_ON_DEMAND", "true"}}},
        {"WARREN_XDS_WAIT", "500ms", "2m", [](const Settings& s) { return ms(s.on_demand.wait); }, "2000ms", "500ms"},
        {"WARREN_XDS_UNUSED", "1m", "1ms", [](const Settings& s) { return ms(s.on_demand.unused); }, "600000ms", "60000ms"},
        {"WARREN_XDS_NAMES", "100", "0", [](const Settings& s) { return std::to_string(s.on_demand.max_names); }, "16384", "100"},
        {"LOCAL_XDS_PATH", "/f", nullptr, [](const Settings& s) { return s.local_xds_path; }, "", "/f"},
        {"LOCAL_XDS", "workloads: []", nullptr, [](const Settings& s) { return s.local_xds; }, "", "workloads: []"},
        {"XDS_HEADER_X-Y", "v", "a\nb",
         [](const Settings& s) { return s.xds.headers.empty() ? "" : s.xds.headers[0].first + s.xds.headers[0].second; }, "", "x-yv"},
        {"CA_HEADER_Z", "v", "\x80", [](const Settings& s) { return s.ca.headers.empty() ? "" : s.ca.headers[0].first; }, "", "z"},
        {"CRL_PATH", "/c", nullptr, [](const Settings& s) { return s.crl_path; }, "", "/c"},
        {"TLS12_ENABLED", "true", "1", [](const Settings& s) { return yes(s.tls.tls12); }, "false", "true"},
        {"COMPLIANCE_POLICY", "pqc", "fips", [](const Settings& s) { return yes(s.tls.post_quantum_only); }, "false", "true"},
        {"WARREN_LOCAL_CA", "/ca", nullptr, [](const Settings& s) { return s.local_ca; }, "", "/ca"},
        {"WARREN_TRUST_DOMAIN_ALIASES", "old,older", "old,,x",
         [](const Settings& s) { return yes(s.tls.trust_domains.accepts("td", "older")); }, "false", "true"},
        {"ISTIO_META_DNS_CAPTURE", "false", nullptr, [](const Settings& s) { return yes(s.dns_proxy); }, "true", "false"},
        {"ISTIO_META_DNS_PROXY_ADDR", "localhost:99", "localhost:x",
         [](const Settings& s) { return std::to_string(s.dns_address.port) + s.dns_address.address; }, "15053", "99"},
        {"ISTIO_METAJSON_L", "{\"a\":1}", nullptr, [](const Settings& s) { return s.json_metadata.empty() ? "" : s.json_metadata.at("L"); },
         "", "{\"a\":1}"},
        {"ISTIO_META_ISTIO_VERSION", "1.30", nullptr, [](const Settings& s) { return s.istio_version; }, "unknown", "1.30"},
    };
}

std::vector<Row> rows_of_data_plane() {
    const auto n = [](auto v) { return std::to_string(v); };
    const auto keep = [](const Settings& s) -> const KeepAlive& { return s.proxy.sockets.keepalive; };
    return {
        {"POOL_MAX_STREAMS_PER_CONNECTION", "7", "0", [n](const Settings& s) { return n(s.proxy.pool_streams); }, "100", "7"},
        {"POOL_UNUSED_RELEASE_TIMEOUT", "1m", "5", [](const Settings& s) { return ms(s.proxy.pool_idle); }, "300000ms", "60000ms"},
        {"CONNECTION_TERMINATION_DEADLINE",
         "500ms",
         "x",
         [](const Settings& s) { return ms(s.drain_deadline); },
         "5000ms",
         "500ms",
         {{"TERMINATION_GRACE_PERIOD_SECONDS", "30"}}},
        {"TERMINATION_GRACE_PERIOD_SECONDS", "30", "30s", [](const Settings& s) { return ms(s.drain_deadline); }, "5000ms", "25000ms"},
        {"HTTP2_STREAM_WINDOW_SIZE", "70000", "0", [n](const Settings& s) { return n(s.proxy.inbound_tunnel.h2.stream_window); }, "4194304",
         "70000"},
        {"HTTP2_CONNECTION_WINDOW_SIZE", "70000", "1", [n](const Settings& s) { return n(s.proxy.outbound_tunnel.h2.connection_window); },
         "16777216", "70000"},
        {"HTTP2_FRAME_SIZE", "16384", "16777216", [n](const Settings& s) { return n(s.proxy.outbound_tunnel.h2.max_frame); }, "1048576",
         "16384"},
        {"KEEPALIVE_ENABLED", "false", "no", [keep](const Settings& s) { return yes(keep(s).enabled); }, "true", "false"},
        {"KEEPALIVE_TIME", "5s", "5", [n, keep](const Settings& s) { return n(keep(s).time.count()); }, "180", "5"},
        {"KEEPALIVE_INTERVAL", "5s", "-5s", [n, keep](const Settings& s) { return n(keep(s).interval.count()); }, "180", "5"},
        {"KEEPALIVE_RETRIES", "3", "0", [n, keep](const Settings& s) { return n(keep(s).retries); }, "9", "3"},
        {"USER_TIMEOUT_ENABLED", "true", "TRUE", [keep](const Settings& s) { return yes(keep(s).user_timeout); }, "false", "true"},
        {"PACKET_MARK", "5", "0x5", [n](const Settings& s) { return n(s.proxy.sockets.mark); }, "1337", "5"},
        {"ENABLE_ORIG_SRC", "true", "try",
         [n](const Settings& s) { return n(static_cast<int>(s.proxy.transparent)) + yes(s.proxy.spoof_source); }, "1true", "2true"},
        {"INPOD_UDS", "/s", nullptr, [](const Settings& s) { return s.inpod_uds; }, "/var/run/ztunnel/ztunnel.sock", "/s"},
        {"WARREN_FLOW_SOCKET", "/f", nullptr, [](const Settings& s) { return s.flow_socket; }, "", "/f"},
        {"INPOD_PORT_REUSE", "false", "x", [](const Settings& s) { return yes(s.proxy.sockets.reuse_port); }, "true", "false"},
        {"IPV6_ENABLED", "false", "x", [](const Settings& s) { return yes(s.proxy.sockets.ipv6); }, "true", "false"},
        {"UNSTABLE_ENABLE_SOCKS5", "false", "true", [](const Settings&) { return "-"; }, "-", "-"},
        {"LOCALHOST_APP_TUNNEL", "false", "x", [](const Settings& s) { return yes(s.proxy.localhost_app_tunnel); }, "true", "false"},
        {"ENABLE_RESPONSE_BAGGAGE", "false", "x", [](const Settings& s) { return yes(s.proxy.response_baggage); }, "true", "false"},
        {"AUTHZ_POLICY_INFO_LOGGING", "true", "x", [](const Settings& s) { return yes(s.policy_info_logging); }, "false", "true"},
        {"RUST_LOG", "warn,access=off", "loud", [](const Settings& s) { return s.log_filter.text(); }, base::log::Filter().text(),
         "warn,access=off"},
        {"LOG_FORMAT", "json", nullptr, [](const Settings& s) { return yes(s.log_format == base::log::Format::Json); }, "false", "true"},
        {"WARREN_TLS_RECORDS", "openssl", "kernel", [](const Settings& s) { return yes(s.proxy.records == TlsRecords::OpenSsl); }, "false",
         "true"},
        {"WARREN_CONNECT_TIMEOUT", "1s", "0s", [](const Settings& s) { return ms(s.proxy.outbound_tunnel.connect_timeout); }, "10000ms",
         "1000ms"},
        {"WARREN_RECORD_WAIT", "1s", "6s", [](const Settings& s) { return ms(s.proxy.record_wait); }, "5000ms", "1000ms"},
        {"WARREN_HANDSHAKE_TIMEOUT", "1s", "1h", [](const Settings& s) { return ms(s.proxy.inbound_tunnel.handshake_timeout); }, "10000ms",
         "1000ms"},
        {"WARREN_HALF_CLOSED_TIMEOUT", "10m", "x", [](const Settings& s) { return ms(s.proxy.half_closed_timeout); }, "3600000ms",
         "600000ms"},
        {"WARREN_CONNECTIONS_PER_POD", "10", "0", [n](const Settings& s) { return n(s.proxy.limits.connections_per_pod); }, "65536", "10"},
        {"WARREN_BUFFERED_BYTES_PER_POD", "2MiB", "2MB", [n](const Settings& s) { return n(s.proxy.limits.buffered_bytes_per_pod); },
         "67108864", "2097152"},
        {"WARREN_HANDSHAKES_PER_POD", "10", "0", [n](const Settings& s) { return n(s.proxy.limits.handshakes_per_pod); }, "1024", "10"},
        {"WARREN_CERT_CHAIN", "", nullptr, [](const Settings& s) { return s.certificate.chain; }, "", ""},
        {"WARREN_NODE_CERT", "/n", nullptr, [](const Settings& s) { return s.node_certificate; }, "", "/n"},
        {"WARREN_NODE_KEY", "", "/k", [](const Settings& s) { return s.node_key; }, "", ""},
        {"WARREN_CERT_KEY", "", "/k", [](const Settings& s) { return s.certificate.key; }, "", ""},
        {"WARREN_CERT_ROOTS", "", "/r", [](const Settings& s) { return s.certificate.roots; }, "", ""},
        {"WARREN_STREAMS_PER_POD", "10", "0", [n](const Settings& s) { return n(s.proxy.limits.streams_per_pod); }, "32768", "10"},
        {"WARREN_DESCRIPTORS_PER_POD", "100", "15", [n](const Settings& s) { return n(s.proxy.limits.descriptors_per_pod); }, "393216",
         "100"},
        {"WARREN_DUMPABLE", "true", "x", [](const Settings& s) { return yes(s.dumpable); }, "false", "true"},
    };
}

std::vector<Row> all_rows() {
    std::vector<Row> rows = rows_of_process();
    for (Row& r : rows_of_control_plane()) rows.push_back(std::move(r));
    for (Row& r : rows_of_data_plane()) rows.push_back(std::move(r));
    return rows;
}

}  // namespace

TEST_CASE("settings: every variable has its default, takes a good value and names itself with a bad one") {
    const auto defaults = read({});
    REQUIRE(defaults);
    for (const Row& row : all_rows()) {
        INFO(row.variable);
        CHECK(row.get(*defaults) == row.by_default);
        Environment env = row.with;
        env[row.variable] = row.good;
        const auto good = read(env);
        INFO((good ? std::string() : good.error().message()));
        REQUIRE(good);
        CHECK(row.get(*good) == row.with_good);
        if (row.bad == nullptr) continue;
        env[row.variable] = row.bad;
        const std::string error = failure(env);
        INFO(error);
        const std::string name = row.variable;
        CHECK(error.find(name.starts_with("ISTIO_META_") ? name.substr(11) : name) != std::string::npos);
    }
}

TEST_CASE("settings: no declared variable is missing from the table above") {
    std::set<std::string> tested;
    for (const Row& row : all_rows()) tested.insert(row.variable);
    const std::string reference = settings_reference();
    size_t count = 0;
    for (size_t at = reference.find("\n| `"); at != std::string::npos; at = reference.find("\n| `", at + 1), ++count) {
        const size_t from = at + 4, end = reference.find('`', from);
        CHECK(tested.count(reference.substr(from, end - from)) == 1);
    }
    CHECK(count > 60);
}

TEST_CASE("settings: what a template leaves empty is as good as unset, where the reference takes it so") {
    SettingsSources sources;
    sources.env = {{"RUST_LOG", ""}, {"LOG_FORMAT", ""}, {"CRL_PATH", ""}, {"COMPLIANCE_POLICY", ""}};
    const Settings settings = *read_settings(sources);
    CHECK(settings.log_filter.text() == base::log::Filter().text());
    CHECK(settings.log_format == base::log::Format::Text);
    sources.env = {{"TLS12_ENABLED", ""}};  // a boolean is true or false
    CHECK_FALSE(read_settings(sources));
}

TEST_CASE("settings: short times and small windows are taken, as the reference takes them") {
    const auto short_ones = read({{"SECRET_TTL", "30s"},
                                  {"POOL_UNUSED_RELEASE_TIMEOUT", "500ms"},
                                  {"KEEPALIVE_TIME", "500ms"},
                                  {"KEEPALIVE_INTERVAL", "1500ms"},
                                  {"HTTP2_STREAM_WINDOW_SIZE", "32768"}});
    REQUIRE(short_ones);
    CHECK(short_ones->secret_ttl == std::chrono::seconds(30));
    CHECK(short_ones->proxy.pool_idle == std::chrono::milliseconds(500));
    CHECK(short_ones->proxy.sockets.keepalive.time == std::chrono::seconds(1));  // the kernel counts seconds
    CHECK(short_ones->proxy.sockets.keepalive.interval == std::chrono::seconds(2));
    CHECK(short_ones->proxy.inbound_tunnel.h2.stream_window == 32'768);
}

TEST_CASE("settings: a log format nobody knows is text, and is said") {
    const auto odd = read({{"LOG_FORMAT", "fancy"}});
    REQUIRE(odd);
    CHECK(odd->log_format == base::log::Format::Text);
    REQUIRE(odd->notices.size() == 1);
    CHECK_THAT(odd->notices[0], Catch::Contains("LOG_FORMAT") && Catch::Contains("fancy"));
    CHECK(read({{"LOG_FORMAT", "plain"}})->notices.empty());
}

TEST_CASE("settings: what is wrong only together") {
    CHECK(failure({{"ENABLE_PROXY", "false"}, {"ISTIO_META_DNS_CAPTURE", "false"}}).find("nothing left to run") != std::string::npos);
    CHECK(failure({{"PROXY_MODE", "dedicated"}}).find("PROXY_WORKLOAD_INFO") != std::string::npos);
    CHECK(failure({{"LOCAL_XDS", "x"}, {"LOCAL_XDS_PATH", "y"}}).find("both are set") != std::string::npos);
    CHECK(failure({{"XDS_ON_DEMAND", "true"}}).find("DNS_CAPTURE") != std::string::npos);
    CHECK(failure({{"WARREN_XDS_SERVICES", "true"}}).find("XDS_ON_DEMAND") != std::string::npos);
    const auto socket = read({{"XDS_ADDRESS", "unix:/run/agent.sock"}});
    REQUIRE(socket);
    CHECK(socket->xds.address == "unix:/run/agent.sock");
    CHECK(failure({{"TLS12_ENABLED", "true"}, {"COMPLIANCE_POLICY", "pqc"}}).find("COMPLIANCE_POLICY") != std::string::npos);
    const auto dedicated = read({{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", "a/b/c"}});
    REQUIRE(dedicated);
    CHECK(dedicated->proxy.sockets.mark == 0);
    const auto odd = read({{"ISTIO_METAJSON_X", "{"}});
    REQUIRE(odd);
    CHECK(odd->json_metadata.empty());
    CHECK(odd->notices.size() == 1);
}

TEST_CASE("settings: config_from_proxyconfig: mesh config, then PROXY_CONFIG, then metadata of the environment, then the variables") {
    SettingsSources sources;
    sources.cpus = 4;
    sources.mesh_config =
        "extensionProviders:\n- name: x\n  otel: {port: 1}\ndefaultConfig:\n  discoveryAddress: mesh:1\n  statsPort: 1000\n"
        "  concurrency: 0\n  tracing:\n    tags: [{a: b}]\n  proxyMetadata:\n    A: mesh\n    B: mesh\n    C: mesh\n";
    sources.env = {{"PROXY_CONFIG", R"({"discoveryAddress": "env:2", "proxyAdminPort": 2000, "proxyMetadata": {"B": "env", "C": "env"}})"},
                   {"ISTIO_META_C", "meta"}};
    auto s = read_settings(sources);
    INFO((s ? std::string() : s.error().message()));
    REQUIRE(s);
    CHECK(s->xds.address == "https://env:2");
    CHECK(s->ca.address == "https://env:2");
    CHECK(s->stats_port == 1000);
    CHECK(s->admin_port == 2000);
    CHECK(s->worker_threads == 4);
    CHECK(s->metadata == std::map<std::string, std::string>{{"A", "mesh"}, {"B", "env"}, {"C", "meta"}});
    sources.env["XDS_ADDRESS"] = "https://own:3";
    sources.env["ZTUNNEL_WORKER_THREADS"] = "3";
    s = read_settings(sources);
    REQUIRE(s);
    CHECK(s->xds.address == "https://own:3");
    CHECK(s->ca.address == "https://env:2");
    CHECK(s->worker_threads == 3);
    for (const char* bad : {"defaultConfig: [", "defaultConfig: {statsPort: 70000}", "defaultConfig: {proxyMetadata: x}", "- a"}) {
        sources.mesh_config = bad;
        const auto refused = read_settings(sources);
        REQUIRE(!refused);
        CHECK(refused.error().message().find(kMeshConfigPath) != std::string::npos);
    }
}

TEST_CASE("settings: test_parse_worker_threads: worker threads by every rule") {
    struct {
        CpuFacts facts;
        uint32_t threads;
    } const rows[] = {
        {{.cpus = 1}, 2},
        {{.cpus = 8}, 2},
        {{.cpus = 9}, 3},
        {{.cpus = 64}, 16},
        {{.cpus = 64, .request = 20}, 20},
        {{.cpus = 64, .limit = 1}, 1},
        {{.cpus = 64, .limit = 1, .request = 4}, 4},
        {{.concurrency = 3, .cpus = 64, .limit = 1}, 3},
        {{.concurrency = 0, .cpus = 64}, 64},
        {{.asked = WorkerCount{5, false}, .concurrency = 3, .cpus = 64}, 5},
        {{.asked = WorkerCount{0, false}, .cpus = 64}, 64},
        {{.asked = WorkerCount{1, true}, .cpus = 4}, 1},
        {{.asked = WorkerCount{100, true}, .cpus = 4}, 4},
        {{.cpus = 8, .limit = 0}, 1},
    };
    for (const auto& row : rows) CHECK(worker_threads(row.facts) == row.threads);
    for (const char* bad : {"", "-1", "0%", "101%", "1.5", "4 ", "1025", "%"}) CHECK(!WorkerCount::parse(bad));
    for (const char* bad : {"", "m", "1.", ".5", "1.5m", "1e3", "-1", "2 ", "99999999999"}) CHECK(!parse_cpu_quantity(bad));
    CHECK(parse_cpu_quantity("0").value() == 0);
    CHECK(parse_cpu_quantity("1.0").value() == 1);
    CHECK(parse_cpu_quantity("1.01").value() == 2);
    CHECK(parse_cpu_quantity("1001m").value() == 2);
}

TEST_CASE("settings: grace periods end before the pod does") {
    for (const auto& [grace, deadline] : {std::pair{"30", 25s}, {"11", 6s}, {"10", 9s}, {"2", 1s}, {"1", 1s}, {"0", 1s}}) {
        const auto s = read({{"TERMINATION_GRACE_PERIOD_SECONDS", grace}});
        REQUIRE(s);
        CHECK(s->drain_deadline == deadline);
    }
}

TEST_CASE("settings: secrets do not reach the dump") {
    const auto s = read({{"AUTH_TOKEN", "hush-1"}, {"XDS_HEADER_KEY", "hush-2"}, {"CA_HEADER_KEY", "hush-3"}});
    REQUIRE(s);
    CHECK(settings_json(*s).dump().find("hush") == std::string::npos);
    CHECK(s->effective.text().find("hush") == std::string::npos);
    CHECK(failure({{"XDS_HEADER_KEY", "hush\n"}}).find("hush") == std::string::npos);
}
