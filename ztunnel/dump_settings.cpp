// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dump_settings.h"

#include <chrono>
#include <string>

namespace warren::ztunnel {
namespace {

using nlohmann::json;

json duration_json(std::chrono::nanoseconds d) {
    const auto secs = std::chrono::duration_cast<std::chrono::seconds>(d);
    return {{"secs", secs.count()}, {"nanos", (d - secs).count()}};
}

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

// PEM text given in the variable itself is public, but long.
json roots_json(const std::string& roots) {
    if (roots == "SYSTEM") return "System";
    if (roots.find("-----BEGIN") != std::string::npos) return {{"Static", "PEM"}};
    return {{"File", roots}};
}

json headers_json(const ControlChannel& channel) {
    json out = json::array();
    for (const auto& [name, value] : channel.headers) out.push_back(name);
    return out;
}

json localhost_json(bool ipv6, uint16_t port) { return {{"Localhost", json::array({ipv6, port})}}; }
json wildcard_json(bool ipv6, uint16_t port) { return (ipv6 ? "[::]:" : "0.0.0.0:") + std::to_string(port); }

json identity_json(const OwnIdentity& own) {
    if (own.pod_namespace.empty() || own.service_account.empty()) return {};
    return policy::Identity(own.trust_domain, own.pod_namespace, own.service_account).uri();
}

json sockets_json(const KeepAlive& k) {
    return {{"keepaliveEnabled", k.enabled},
            {"keepaliveTime", duration_json(k.time)},
            {"keepaliveInterval", duration_json(k.interval)},
            {"keepaliveRetries", k.retries},
            {"userTimeoutEnabled", k.user_timeout}};
}

json origins_json(const base::config::Effective& effective) {
    json out = json::object();
    for (const auto& setting : effective.settings)
        if (setting.given) out[setting.name] = setting.origin;
    return out;
}

void put_addresses(json& out, const Settings& s) {
    const bool v6 = s.proxy.sockets.ipv6;
    out["adminAddr"] = localhost_json(v6, s.admin_port);
    out["statsAddr"] = {{"SocketAddr", wildcard_json(v6, s.stats_port)}};
    out["readinessAddr"] = {{"SocketAddr", wildcard_json(v6, s.readiness_port)}};
    out["inboundAddr"] = wildcard_json(v6, kInboundHbonePort);
    out["inboundPlaintextAddr"] = wildcard_json(v6, kInboundPlaintextPort);
    out["outboundAddr"] = wildcard_json(v6, kOutboundPort);
    out["dnsProxyAddr"] =
        s.dns_address.address.empty() ? localhost_json(v6, s.dns_address.port) : json({{"SocketAddr", s.dns_address.address}});
    out["socks5Addr"] = nullptr;
    out["illegalPorts"] = json::array({kInboundPlaintextPort, kInboundHbonePort, kOutboundPort});
}

void put_control_plane(json& out, const Settings& s) {
    out["xdsAddress"] = text_or_null(s.xds.address);
    out["xdsRootCert"] = roots_json(s.xds.roots);
    out["xdsHeaders"] = headers_json(s.xds);
    out["altXdsHostname"] = text_or_null(s.xds.alternative_name);
    out["xdsOnDemand"] = s.xds_on_demand;
    out["caAddress"] = text_or_null(s.ca.address);
    out["caRootCert"] = roots_json(s.ca.roots);
    out["caHeaders"] = headers_json(s.ca);
    out["altCaHostname"] = text_or_null(s.ca.alternative_name);
    out["secretTtl"] = duration_json(s.secret_ttl);
    out["fakeCa"] = false;
    out["crlPath"] = text_or_null(s.crl_path);
    out["localCa"] = text_or_null(s.local_ca);
    out["localXdsPath"] = text_or_null(s.local_xds_path);
}

void put_data_plane(json& out, const Settings& s) {
    const ProxySettings& p = s.proxy;
    out["proxy"] = s.proxy_enabled;
    out["windowSize"] = p.outbound_tunnel.h2.stream_window;
    out["connectionWindowSize"] = p.outbound_tunnel.h2.connection_window;
    out["frameSize"] = p.outbound_tunnel.h2.max_frame;
    out["poolMaxStreamsPerConn"] = p.pool_streams;
    out["poolUnusedReleaseTimeout"] = duration_json(p.pool_idle);
    out["numWorkerThreads"] = s.worker_threads;
    out["packetMark"] = p.sockets.mark == 0 ? json() : json(p.sockets.mark);
    out["requireOriginalSource"] =
        p.transparent == ListenAt::Transparent::Try ? json() : json(p.transparent == ListenAt::Transparent::Require);
    out["socketConfig"] = sockets_json(p.sockets.keepalive);
    out["inpodUds"] = s.inpod_uds;
    out["inpodPortReuse"] = p.sockets.reuse_port;
    out["ipv6Enabled"] = p.sockets.ipv6;
    out["localhostAppTunnel"] = p.localhost_app_tunnel;
    out["enableEnhancedBaggage"] = p.response_baggage;
    out["selfTerminationDeadline"] = duration_json(s.drain_deadline);
    out["tlsRecords"] = p.records == TlsRecords::Warren ? "warren" : "openssl";
    out["handshakeTimeout"] = duration_json(p.inbound_tunnel.handshake_timeout);
    out["halfClosedTimeout"] = duration_json(p.half_closed_timeout);
    out["connectTimeout"] = duration_json(p.connect_timeout);
    out["connectionsPerPod"] = p.limits.connections_per_pod;
    out["bufferedBytesPerPod"] = p.limits.buffered_bytes_per_pod;
    out["handshakesPerPod"] = p.limits.handshakes_per_pod;
}

}  // namespace

json settings_json(const Settings& s) {
    json out = {{"proxyMode", s.mode == ProxyMode::Shared ? "Shared" : "Dedicated"},
                {"network", s.proxy.network.view()},
                {"localNode", text_or_null(s.proxy.node_name)},
                {"clusterId", s.cluster_id},
                {"clusterDomain", s.cluster_domain},
                {"dnsProxy", s.dns_proxy},
                {"preferedServiceNamespace", text_or_null(s.preferred_service_namespace)},
                {"proxyMetadata", json::object()},
                {"proxyWorkloadInformation", nullptr},
                {"ztunnelIdentity", identity_json(s.own)},
                {"ztunnelWorkload", nullptr},
                {"givenBy", origins_json(s.effective)}};
    for (const auto& [name, value] : s.metadata) out["proxyMetadata"][name] = value;
    if (s.workload)
        out["proxyWorkloadInformation"] = {
            {"name", s.workload->name}, {"namespace", s.workload->ns}, {"serviceAccount", s.workload->service_account}};
    if (!s.own.pod_name.empty() && !s.own.pod_namespace.empty() && !s.own.service_account.empty())
        out["ztunnelWorkload"] = {{"name", s.own.pod_name}, {"namespace", s.own.pod_namespace}, {"serviceAccount", s.own.service_account}};
    put_addresses(out, s);
    put_control_plane(out, s);
    put_data_plane(out, s);
    return out;
}

}  // namespace warren::ztunnel
