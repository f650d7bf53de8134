// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/settings.h"

#include "base/ip.h"
#include "ztunnel/proxy_config.h"
#include "ztunnel/settings_raw.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace warren::ztunnel {
namespace {

using base::Result;
using std::chrono::milliseconds;

constexpr uint32_t kSharedMark = 1337;  // of shared mode, what the agent's rules look for

template <class To, class From>
To cast(From value) {
    return std::chrono::duration_cast<To>(value);
}

base::Error refuse(std::string_view variable, std::string_view value, std::string_view why) {
    return base::invalid(std::string("environment variable ")
                             .append(variable)
                             .append(": ")
                             .append(base::log::quoted(value))
                             .append(" is not allowed (")
                             .append(why)
                             .append(")"));
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    return out;
}

// The entries whose names begin with prefix, by the rest of the name.
std::map<std::string, std::string> with_prefix(const Environment& env, std::string_view prefix) {
    std::map<std::string, std::string> out;
    for (auto at = env.lower_bound(prefix); at != env.end() && at->first.starts_with(prefix); ++at)
        if (at->first.size() > prefix.size()) out.emplace(at->first.substr(prefix.size()), at->second);
    return out;
}

// gRPC metadata: other names and values could not be sent.
Result<std::vector<std::pair<std::string, std::string>>> headers(const Environment& env, std::string_view prefix) {
    std::map<std::string, std::string> sorted;
    for (const auto& [name, value] : with_prefix(env, prefix)) {
        const bool name_fits = std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        });
        const bool value_fits = std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
        if (!name_fits || !value_fits)  // the value may be a secret
            return base::invalid("environment variable " + std::string(prefix) + name + ": name or value (" + std::to_string(value.size()) +
                                 " bytes) is not allowed (allowed: a header of letters, digits, _ - . with printable ASCII)");
        sorted.emplace(lower(name), value);
    }
    return std::vector<std::pair<std::string, std::string>>(sorted.begin(), sorted.end());
}

Result<void> settle_metadata(const Environment& env, const ProxyConfig& config, Settings& to) {
    to.metadata = config.metadata;
    for (const auto& [name, value] : with_prefix(env, "ISTIO_META_")) to.metadata[name] = value;
    for (const auto& [name, value] : with_prefix(env, "ISTIO_METAJSON_")) {
        if (nlohmann::json::accept(value))
            to.json_metadata.emplace(name, value);
        else  // contract 3.2: skipped, and said
            to.notices.push_back("ISTIO_METAJSON_" + name + ": not JSON, left out of the node's metadata");
    }
    if (const auto at = to.metadata.find("DNS_CAPTURE"); at != to.metadata.end()) to.dns_proxy = lower(at->second) == "true";
    if (const auto at = to.metadata.find("DNS_PROXY_ADDR"); at != to.metadata.end()) {
        const bool loopback = at->second.starts_with("localhost:");
        const auto address = base::SockAddr::parse(loopback ? "127.0.0.1:" + at->second.substr(10) : at->second);
        if (!address || address->port == 0)
            return base::invalid("proxy metadata DNS_PROXY_ADDR: " + base::log::quoted(at->second) +
                                 " is not allowed (allowed: localhost:PORT or IP:PORT)");
        to.dns_address = {address->port, loopback ? std::string() : at->second};
    }
    return {};
}

Result<void> settle_channels(const Environment& env, const RawSettings& raw, const ProxyConfig& config, Settings& to) {
    std::string standard = raw.kubernetes_host.empty() ? "https://localhost:15012" : "https://istiod.istio-system.svc:15012";
    if (config.discovery_address) {
        const std::string& address = *config.discovery_address;
        const size_t scheme = address.find("://");
        if (scheme != std::string::npos && address.substr(0, scheme) != "https")
            return base::invalid("discoveryAddress: " + base::log::quoted(address) +
                                 " is not allowed (allowed: an https:// address with a port)");
        standard = scheme == std::string::npos && !address.empty() ? "https://" + address : address;
    }
    to.xds.address = raw.xds_address.value_or(standard);
    to.ca.address = raw.ca_address.value_or(standard);
    to.xds.headers = TRY(headers(env, "XDS_HEADER_"));
    to.ca.headers = TRY(headers(env, "CA_HEADER_"));
    to.secret_ttl = cast<std::chrono::seconds>(raw.secret_ttl);
    to.on_demand.wait = cast<milliseconds>(raw.demand_wait);
    to.on_demand.unused = cast<milliseconds>(raw.demand_unused);
    return {};
}

// Contract 4.8: the process has to be gone before the pod's grace period is over.
milliseconds drain_deadline(const RawSettings& raw) {
    if (raw.termination_deadline) return cast<milliseconds>(*raw.termination_deadline);
    if (!raw.grace_seconds) return milliseconds(5000);
    const uint32_t grace = *raw.grace_seconds;
    return std::chrono::seconds(grace > 10 ? grace - 5 : std::max(grace, 2u) - 1);
}

void settle_proxy(const RawSettings& raw, uint64_t descriptors, Settings& to) {
    ProxySettings& p = to.proxy;
    p.network = policy::Text(raw.network);
    p.node_name = raw.node_name;
    p.tcp = to.proxy_enabled;
    p.follow_identities = p.tcp && to.mode == ProxyMode::Shared;
    p.sockets.mark = raw.packet_mark.value_or(to.mode == ProxyMode::Shared ? kSharedMark : 0);
    p.sockets.keepalive.time = std::chrono::ceil<std::chrono::seconds>(raw.keepalive_time);  // the kernel's unit
    p.sockets.keepalive.interval = std::chrono::ceil<std::chrono::seconds>(raw.keepalive_interval);
    p.spoof_source = p.transparent != ListenAt::Transparent::No;
    p.pool_streams = raw.pool_streams;
    p.pool_idle = cast<milliseconds>(raw.pool_idle);
    p.connect_timeout = cast<milliseconds>(raw.connect);
    p.record_wait = cast<milliseconds>(raw.record_wait);
    p.trust_domain = to.own.trust_domain;
    p.cluster_id = to.cluster_id;
    p.half_closed_timeout = cast<milliseconds>(raw.half_closed);
    p.limits.connections_per_pod = raw.connections_per_pod;
    p.limits.streams_per_pod = raw.streams_per_pod;
    constexpr uint64_t kLeast = 64;
    p.limits.descriptors_per_pod =
        raw.descriptors_per_pod ? *raw.descriptors_per_pod : std::max(descriptors * 3 / 4 / to.worker_threads, kLeast);
    p.limits.handshakes_per_pod = raw.handshakes_per_pod;
    // 2,048 in all are 43 MB; a pod's limit that was set higher is meant.
    constexpr size_t kHandshakes = 2'048;
    p.limits.handshakes_per_worker = std::max<size_t>(std::max<size_t>(kHandshakes / to.worker_threads, kLeast), raw.handshakes_per_pod);
    p.limits.buffered_bytes_per_pod = raw.buffered_bytes_per_pod;
    for (TunnelSettings* tunnel : {&p.outbound_tunnel, &p.inbound_tunnel}) {
        tunnel->h2.stream_window = raw.stream_window;
        tunnel->h2.connection_window = raw.connection_window;
        tunnel->h2.max_frame = raw.frame_size;
        tunnel->connect_timeout = p.connect_timeout;
        tunnel->handshake_timeout = cast<milliseconds>(raw.handshake);
    }
    p.inbound_tunnel.h2.max_header_list = 64 * 1024;
    to.tls.post_quantum_only = raw.post_quantum;
    to.tls.trust_domains = policy::TrustDomains(raw.trust_domain_aliases);
}

// What only makes sense together.
Result<void> check(const RawSettings& raw, const Settings& s) {
    if (!s.proxy_enabled && !s.dns_proxy) return refuse("ENABLE_PROXY", "false", "with DNS_CAPTURE off there is nothing left to run");
    if (s.mode == ProxyMode::Dedicated && !s.workload)
        return base::invalid("environment variable PROXY_WORKLOAD_INFO: not set; PROXY_MODE=dedicated needs namespace/name/serviceAccount");
    const CertificatePaths& files = s.certificate;
    if (files.chain.empty() != files.key.empty() || files.chain.empty() != files.roots.empty())
        return base::invalid(
            "environment variables WARREN_CERT_CHAIN, WARREN_CERT_KEY, WARREN_CERT_ROOTS: some are set; set all three or none");
    if (files.given() && s.mode != ProxyMode::Dedicated)
        return refuse("WARREN_CERT_CHAIN", files.chain, "one file is the certificate of one workload: needs PROXY_MODE=dedicated");
    if (files.given() && !s.local_ca.empty())
        return refuse("WARREN_CERT_CHAIN", files.chain, "WARREN_LOCAL_CA is set too; leave one of them");
    if (s.node_certificate.empty() && !s.node_key.empty())
        return refuse("WARREN_NODE_KEY", s.node_key, "needs WARREN_NODE_CERT, whose key it is");
    if (!s.local_xds.empty() && !s.local_xds_path.empty())
        return base::invalid("environment variables LOCAL_XDS and LOCAL_XDS_PATH: both are set; leave one");
    if (raw.fake_ca) return refuse("FAKE_CA", "true", "this build has no such authority; for labs see WARREN_LOCAL_CA");
    if (raw.socks5) return refuse("UNSTABLE_ENABLE_SOCKS5", "true", "SOCKS5 is not served; allowed: false");
    if (s.xds_on_demand && s.dns_proxy && !s.on_demand.services)
        return refuse("XDS_ON_DEMAND", "true", "needs the proxy metadata DNS_CAPTURE to be false, or WARREN_XDS_SERVICES");
    if (s.on_demand.services && !s.xds_on_demand) return refuse("WARREN_XDS_SERVICES", "true", "needs XDS_ON_DEMAND");
    if (s.tls.tls12 && s.tls.post_quantum_only)
        return refuse("TLS12_ENABLED", "true", "TLS 1.2 has no post-quantum exchange, which COMPLIANCE_POLICY=pqc demands");
    return {};
}

Result<ProxyConfig> proxy_config(const SettingsSources& sources, const std::string& given) {
    ProxyConfig config;
    if (sources.mesh_config) config = TRY(parse_mesh_config(*sources.mesh_config, kMeshConfigPath));
    if (!given.empty()) config.merge(TRY(parse_proxy_config(given, "environment variable PROXY_CONFIG")));
    return config;
}

struct File {
    void operator()(FILE* f) const { std::fclose(f); }
};

}  // namespace

Environment environment_of(const char* const* list) {
    Environment env;
    for (; list != nullptr && *list != nullptr; ++list) {
        const std::string_view entry(*list);
        const size_t equals = entry.find('=');
        if (equals != std::string_view::npos && equals > 0) env.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
    return env;
}

Result<Settings> read_settings(const SettingsSources& sources) {
    Settings settings;
    RawSettings raw;
    base::config::Schema schema;
    declare_settings(schema, raw, settings);
    const auto lookup = [&](const char* name) -> const char* {
        const auto at = sources.env.find(std::string_view(name));
        return at == sources.env.end() ? nullptr : at->second.c_str();
    };
    settings.effective = TRY(schema.read({.args = {}, .env = lookup}));
    for (base::config::Setting& setting : settings.effective.settings)
        if (setting.name == "AUTH_TOKEN" && setting.given) setting.value = "(hidden)";  // what is logged and dumped from here
    const ProxyConfig config = TRY(proxy_config(sources, raw.proxy_config));
    settings.workload = raw.workload;
    settings.admin_port = config.admin_port.value_or(settings.admin_port);
    settings.stats_port = config.stats_port.value_or(settings.stats_port);
    settings.drain_deadline = drain_deadline(raw);
    settings.worker_threads = worker_threads(
        {raw.workers, config.concurrency, raw.cpu_limit.value_or(std::max(sources.cpus, 1u)), raw.resource_limit, raw.resource_request});
    TRY(settle_metadata(sources.env, config, settings));
    TRY(settle_channels(sources.env, raw, config, settings));
    settle_proxy(raw, sources.descriptors, settings);
    TRY(check(raw, settings));
    if (settings.node_key.empty()) settings.node_key = settings.node_certificate;
    return settings;
}

Result<SettingsSources> own_sources() {
    SettingsSources sources;
    sources.env = environment_of(environ);
    cpu_set_t own;
    CPU_ZERO(&own);
    // More than 1,024 CPUs do not fit the set: the machine's count then.
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    sources.cpus = ::sched_getaffinity(0, sizeof own, &own) == 0 ? static_cast<uint32_t>(CPU_COUNT(&own))
                                                                 : static_cast<uint32_t>(std::max(online, 1L));
    rlimit open_files{};
    if (::getrlimit(RLIMIT_NOFILE, &open_files) == 0) sources.descriptors = open_files.rlim_max;  // main raises to that
    const std::unique_ptr<FILE, File> file(std::fopen(kMeshConfigPath, "re"));
    if (!file) {
        const int os = errno;
        if (os == ENOENT || os == ENOTDIR) return sources;
        return base::os_error_of(os, "open", kMeshConfigPath);
    }
    std::string text((1 << 20) + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get()) != 0) return base::os_error("read", kMeshConfigPath);
    if (text.size() > 1 << 20) return base::invalid(std::string(kMeshConfigPath) + ": more than 1 MiB");
    sources.mesh_config = std::move(text);
    return sources;
}

std::string settings_reference() {
    Settings settings;
    RawSettings raw;
    base::config::Schema schema;
    declare_settings(schema, raw, settings);
    return schema.reference();
}

}  // namespace warren::ztunnel
