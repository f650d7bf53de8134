// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/settings_raw.h"

#include <algorithm>
#include <charconv>

namespace warren::ztunnel {
namespace {

using base::Result;
using base::config::Decl;
using base::config::Parsed;
using base::config::Schema;
using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds kLongest = 24h * 365;

Decl var(std::string variable, std::string help) { return {.name = variable, .env = {variable}, .help = std::move(help)}; }

// A variable whose absence means something of its own.
template <class T, class Parse>
void optional(Schema& schema, Decl decl, std::string type, std::string allowed, std::optional<T>& target, Parse parse) {
    schema.custom({std::move(decl), std::move(type), std::move(allowed), "", false,
                   [&target, parse](const std::vector<std::string>& items) -> Result<Parsed> {
                       T value = TRY(parse(items[0]));
                       return Parsed{items[0], [&target, value = std::move(value)] { target = value; }};
                   }});
}

Result<uint32_t> whole(const std::string& text, uint32_t most) {
    uint32_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size() || value > most) return base::invalid("");
    return value;
}

Result<WorkloadInfo> workload_info(const std::string& text) {
    const size_t first = text.find('/'), second = first == std::string::npos ? first : text.find('/', first + 1);
    if (second == std::string::npos || text.find('/', second + 1) != std::string::npos) return base::invalid("");
    WorkloadInfo info{text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
    if (info.ns.empty() || info.name.empty() || info.service_account.empty()) return base::invalid("a part is empty");
    return info;
}

// https only: a name without a scheme gets it (contract 3.7).
Result<std::string> https(const std::string& text) {
    if (text.empty()) return std::string();
    const size_t scheme = text.find("://");
    if (scheme != std::string::npos && text.substr(0, scheme) != "https") return base::invalid("");
    std::string url = scheme == std::string::npos ? "https://" + text : text;
    if (url.size() == 8 || url.find_first_of(" \t\r\n") != std::string::npos) return base::invalid("");
    return url;
}

// Of the control plane: or the node agent's socket. Which sockets are good is for the client to say.
Result<std::string> https_or_socket(const std::string& text) {
    if (text.starts_with("unix:")) return text;
    return https(text);
}

Result<std::chrono::nanoseconds> duration(const std::string& text) {
    std::chrono::nanoseconds value{};
    Schema one;  // its grammar, for a value that may be absent
    one.duration({.name = "x", .env = {"x"}}, value, 0s, kLongest);
    if (!one.read({.args = {}, .env = [&](const char*) { return text.c_str(); }})) return base::invalid("");
    return value;
}

void declare_process(Schema& s, RawSettings& raw, Settings& to) {
    s.boolean(var("ENABLE_PROXY", "run the TCP data plane"), to.proxy_enabled);
    s.choice(var("PROXY_MODE", "all pods of a node, or one workload"), to.mode,
             {{"shared", ProxyMode::Shared}, {"dedicated", ProxyMode::Dedicated}});
    optional(s, var("PROXY_WORKLOAD_INFO", "whom a dedicated proxy works for"), "text", "namespace/name/serviceAccount", raw.workload,
             workload_info);
    s.text(var("NETWORK", "own network"), raw.network);
    s.text(var("NODE_NAME", "own node: which workloads are local"), raw.node_name);
    s.text({.name = "CLUSTER_ID", .env = {"ISTIO_META_CLUSTER_ID", "CLUSTER_ID"}, .help = "own cluster"}, to.cluster_id);
    s.text(var("CLUSTER_DOMAIN", "DNS suffix"), to.cluster_domain);
    s.text(var("INSTANCE_IP", "of the own pod, in the node id"), to.own.instance_ip);
    s.text(var("POD_NAME", "own pod, in the node id"), to.own.pod_name);
    s.text(var("POD_NAMESPACE", "own pod, in the node id"), to.own.pod_namespace);
    s.text(var("SERVICE_ACCOUNT", "own identity"), to.own.service_account);
    s.text(var("TRUST_DOMAIN", "of the own identity, and of a node's first pods while their records are on the way"), to.own.trust_domain);
    s.text(var("KUBERNETES_SERVICE_HOST", "its presence selects the in-cluster control plane"), raw.kubernetes_host);
    s.text(var("PROXY_CONFIG", "ProxyConfig as YAML or JSON, over the mesh config file"), raw.proxy_config, 1 << 20);
    s.text(var("PREFERED_SERVICE_NAMESPACE", "breaks ties between services of one hostname"), to.preferred_service_namespace);
    const auto quantity = [](const std::string& text) { return parse_cpu_quantity(text); };
    optional(s, var("ZTUNNEL_WORKER_THREADS", "worker threads"), "number",
             "a whole number to " + std::to_string(kMostWorkers) + ", 0 for all CPUs, or 1% to 100% of them", raw.workers,
             [](const std::string& text) { return WorkerCount::parse(text); });
    optional(s, var("ZTUNNEL_CPU_LIMIT", "counts as the number of CPUs"), "integer", "a whole number from 1 to 100000", raw.cpu_limit,
             [](const std::string& text) -> Result<uint32_t> {
                 const uint32_t n = TRY(whole(text, 100'000));
                 if (n == 0) return base::invalid("");
                 return n;
             });
    optional(s, var("ZTUNNEL_RESOURCE_CPU_LIMIT", "CPU limit of the container"), "quantity", "CPUs, as in 2, 1.5, 500m", raw.resource_limit,
             quantity);
    optional(s, var("ZTUNNEL_RESOURCE_CPU_REQUEST", "CPU request of the container"), "quantity", "CPUs, as in 2, 1.5, 500m",
             raw.resource_request, quantity);
}

void declare_control_plane(Schema& s, RawSettings& raw, Settings& to) {
    const std::string urls = "an https:// address with a port; nothing for none";
    optional(s, var("XDS_ADDRESS", "control plane, or unix:/PATH of the node agent; nothing for none"), "address",
             "an https:// address with a port, or unix:/PATH; nothing for none", raw.xds_address, https_or_socket);
    optional(s, var("CA_ADDRESS", "certificate service; nothing for none"), "address", urls, raw.ca_address, https);
    to.xds.roots = to.ca.roots = "./var/run/secrets/istio/root-cert.pem";
    s.text(var("XDS_ROOT_CA", "roots of the control plane: a file, SYSTEM, or PEM"), to.xds.roots, 1 << 20);
    s.text(var("CA_ROOT_CA", "roots of the certificate service: a file, SYSTEM, or PEM"), to.ca.roots, 1 << 20);
    s.text(var("ALT_XDS_HOSTNAME", "another name the control plane's certificate may have"), to.xds.alternative_name);
    s.text(var("ALT_CA_HOSTNAME", "another name the certificate service's certificate may have"), to.ca.alternative_name);
    s.text(var("AUTH_TOKEN", "a token file, or the token"), to.auth_token, 64 * 1024);
    s.text(var("WARREN_NODE_CERT", "the node's own certificate, shown to both besides the token; a file of the node agent; watched"),
           to.node_certificate);
    s.text(var("WARREN_NODE_KEY", "its key; default: in the same file"), to.node_key);
    s.duration(var("SECRET_TTL", "lifetime that certificates are asked for"), raw.secret_ttl, 1s, kLongest);
    s.boolean(var("FAKE_CA", "refused: there is none in this build"), raw.fake_ca);
    s.boolean(var("XDS_ON_DEMAND", "ask for records as they are needed; needs DNS_CAPTURE off, or WARREN_XDS_SERVICES"), to.xds_on_demand);
    s.boolean(var("WARREN_XDS_SERVICES", "with XDS_ON_DEMAND: have all services at hand; needs Warren's node agent"),
              to.on_demand.services);
    s.duration(var("WARREN_XDS_WAIT", "how long a connection waits for records asked for on demand"), raw.demand_wait, 10ms, 1min);
    s.duration(var("WARREN_XDS_UNUSED", "a record asked for on demand is given back after"), raw.demand_unused, 100ms, kLongest);
    s.integer<uint32_t>(var("WARREN_XDS_NAMES", "asked for on demand, at once"), to.on_demand.max_names, 16, 1'000'000);
    s.text(var("LOCAL_XDS_PATH", "a mesh file"), to.local_xds_path);
    s.text(var("LOCAL_XDS", "a mesh file's text"), to.local_xds, 64 << 20);
    s.text(var("CRL_PATH", "revocation lists"), to.crl_path);
    s.boolean(var("TLS12_ENABLED", "TLS 1.2 beside 1.3"), to.tls.tls12);
    s.choice(var("COMPLIANCE_POLICY", "pqc: post-quantum key exchange only"), raw.post_quantum, {{"", false}, {"pqc", true}});
    s.text(var("WARREN_LOCAL_CA", "for labs: a directory with ca.pem and ca.key; this process signs"), to.local_ca);
    s.text(var("WARREN_CERT_CHAIN", "dedicated mode: the own certificate, then intermediates, from a file; watched"), to.certificate.chain);
    s.text(var("WARREN_CERT_KEY", "dedicated mode: its key"), to.certificate.key);
    s.text(var("WARREN_CERT_ROOTS", "dedicated mode: the roots of peers"), to.certificate.roots);
    s.list(var("WARREN_TRUST_DOMAIN_ALIASES", "trust domains of peers that count as the own one"), raw.trust_domain_aliases);
}

void declare_tunnels(Schema& s, RawSettings& raw, Settings& to) {
    s.integer<uint32_t>(var("POOL_MAX_STREAMS_PER_CONNECTION", "streams of one outbound tunnel"), raw.pool_streams, 1, 65'535);
    s.duration(var("POOL_UNUSED_RELEASE_TIMEOUT", "an unused tunnel is closed after"), raw.pool_idle, 1ms, kLongest);
    s.integer<uint32_t>(var("HTTP2_STREAM_WINDOW_SIZE", "bytes"), raw.stream_window, 1, 2'147'483'647);
    s.integer<uint32_t>(var("HTTP2_CONNECTION_WINDOW_SIZE", "bytes; well above the stream window"), raw.connection_window, 65'535,
                        2'147'483'647);
    s.integer<uint32_t>(var("HTTP2_FRAME_SIZE", "bytes"), raw.frame_size, 16'384, 16'777'215);
    auto& keepalive = to.proxy.sockets.keepalive;
    s.boolean(var("KEEPALIVE_ENABLED", "TCP keepalive"), keepalive.enabled);
    s.duration(var("KEEPALIVE_TIME", "idle before the first probe"), raw.keepalive_time, 1ms, 32'767s);
    s.duration(var("KEEPALIVE_INTERVAL", "between probes"), raw.keepalive_interval, 1ms, 32'767s);
    s.integer(var("KEEPALIVE_RETRIES", "probes"), keepalive.retries, 1, 127);
    s.boolean(var("USER_TIMEOUT_ENABLED", "TCP_USER_TIMEOUT of time + retries x interval"), keepalive.user_timeout);
    s.boolean(var("ENABLE_RESPONSE_BAGGAGE", "send baggage in answers and read that of requests"), to.proxy.response_baggage);
    s.boolean(var("LOCALHOST_APP_TUNNEL", "hand over PROXY connections by loopback"), to.proxy.localhost_app_tunnel);
    s.choice(var("WARREN_TLS_RECORDS", "tlsRecords: who seals TLS records"), to.proxy.records,
             {{"warren", TlsRecords::Warren}, {"openssl", TlsRecords::OpenSsl}});
    s.duration(var("WARREN_CONNECT_TIMEOUT", "for a TCP connection upstream"), raw.connect, 100ms, 10min);
    s.duration(var("WARREN_RECORD_WAIT", "for a new pod's own record, before the node agent's word serves for its connections; 5s: never"),
               raw.record_wait, 0ms, 5s);
    s.duration(var("WARREN_HANDSHAKE_TIMEOUT", "for a TLS handshake"), raw.handshake, 100ms, 10min);
    s.duration(var("WARREN_HALF_CLOSED_TIMEOUT", "a connection with one side closed ends after"), raw.half_closed, 1s, kLongest);
    s.integer<uint32_t>(var("WARREN_CONNECTIONS_PER_POD", "on one worker"), raw.connections_per_pod, 1, 10'000'000);
    s.integer<uint32_t>(var("WARREN_STREAMS_PER_POD", "of inbound tunnels, on one worker"), raw.streams_per_pod, 1, 10'000'000);
    optional(
        s, var("WARREN_DESCRIPTORS_PER_POD", "sockets on one worker; unset: three quarters of the process's limit, shared by the workers"),
        "integer", "a whole number from 16 to 10000000", raw.descriptors_per_pod, [](const std::string& text) -> Result<uint32_t> {
            const uint32_t n = TRY(whole(text, 10'000'000));
            if (n < 16) return base::invalid("");
            return n;
        });
    s.size(var("WARREN_BUFFERED_BYTES_PER_POD", "received for applications that do not read, on one worker"), raw.buffered_bytes_per_pod,
           1 << 20, uint64_t{1} << 40);
    s.integer<uint32_t>(var("WARREN_HANDSHAKES_PER_POD", "at once on one worker"), raw.handshakes_per_pod, 1, 1'000'000);
}

std::string unknown_format(const std::string& word) { return "LOG_FORMAT: " + base::log::quoted(word) + " is not known; the log is text"; }

void declare_node(Schema& s, RawSettings& raw, Settings& to) {
    optional(s, var("PACKET_MARK", "SO_MARK of every socket; 1337 in shared mode, none in dedicated"), "integer",
             "a whole number to 4294967295", raw.packet_mark, [](const std::string& text) { return whole(text, UINT32_MAX); });
    s.choice(var("ENABLE_ORIG_SRC", "keep source addresses: required, not attempted; unset: as far as possible"), to.proxy.transparent,
             {{"true", ListenAt::Transparent::Require}, {"false", ListenAt::Transparent::No}});
    s.text(var("INPOD_UDS", "socket of the node agent"), to.inpod_uds, 107);
    s.text(var("WARREN_FLOW_SOCKET", "socket on which the node agent takes flows; nothing for none"), to.flow_socket, 107);
    s.boolean(var("INPOD_PORT_REUSE", "SO_REUSEPORT in pods"), to.proxy.sockets.reuse_port);
    s.boolean(var("IPV6_ENABLED", "IPv6"), to.proxy.sockets.ipv6);
    s.boolean(var("UNSTABLE_ENABLE_SOCKS5", "refused: SOCKS5 is not served"), raw.socks5);
    optional(s, var("CONNECTION_TERMINATION_DEADLINE", "how long a drain lets connections go on"), "duration",
             "a duration to 8760h, as in 5s, 500ms, 1h30m", raw.termination_deadline, duration);
    optional(s, var("TERMINATION_GRACE_PERIOD_SECONDS", "of the pod; the drain ends before it"), "integer",
             "a whole number of seconds to 31536000", raw.grace_seconds, [](const std::string& text) { return whole(text, 31'536'000); });
    s.boolean(var("AUTHZ_POLICY_INFO_LOGGING", "log decisions of policies at info"), to.policy_info_logging);
    s.custom({var("RUST_LOG", "what is logged"), "filter", "level or target=level with commas, as in info,access=off", "info", false,
              [&to](const std::vector<std::string>& items) -> Result<Parsed> {
                  // Set to nothing is what an unset value of a template leaves.
                  base::log::Filter filter = items[0].empty() ? base::log::Filter() : TRY(base::log::Filter::parse(items[0]));
                  std::string text = filter.text();
                  return Parsed{std::move(text), [&to, filter = std::move(filter)] { to.log_filter = filter; }};
              }});
    s.custom({var("LOG_FORMAT", "of the log: json, or text for anything else"), "word", "any", "text", false,
              [&to](const std::vector<std::string>& items) -> Result<Parsed> {
                  const bool json = items[0] == "json";  // contract 9.5: otherwise tabs
                  const bool known = json || items[0].empty() || items[0] == "plain" || items[0] == "text";
                  return Parsed{json ? "json" : "text", [&to, json, notice = known ? std::string() : unknown_format(items[0])] {
                                    to.log_format = json ? base::log::Format::Json : base::log::Format::Text;
                                    if (!notice.empty()) to.notices.push_back(notice);
                                }};
              }});
    s.text(var("ISTIO_META_ISTIO_VERSION", "tag of the build metric"), to.istio_version);
    s.boolean(var("WARREN_DUMPABLE", "let debuggers and core dumps see the memory, keys included"), to.dumpable);
}

}  // namespace

void declare_settings(Schema& schema, RawSettings& raw, Settings& settings) {
    declare_process(schema, raw, settings);
    declare_control_plane(schema, raw, settings);
    declare_tunnels(schema, raw, settings);
    declare_node(schema, raw, settings);
}

}  // namespace warren::ztunnel
