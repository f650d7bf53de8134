// SPDX-License-Identifier: Apache-2.0
// The configuration of the process: every variable of data-plane contract 10.2, with the precedence of 10.1, read once by main before
// threads start and constant afterwards. An error names the variable, its value and what is allowed; nothing is guessed.
#pragma once

#include "base/config.h"
#include "base/log_filter.h"
#include "base/result.h"
#include "ztunnel/on_demand.h"
#include "ztunnel/proxy_settings.h"
#include "ztunnel/tls_context.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace warren::ztunnel {

enum class ProxyMode : uint8_t { Shared, Dedicated };

// Whom the process works for in dedicated mode.
struct WorkloadInfo {
    std::string ns, name, service_account;
};

// The xDS server or the certificate service (contract 2.6, 3.7).
struct ControlChannel {
    std::string address;  // https://...; empty: off
    std::string roots;    // a file, SYSTEM, or PEM text
    std::string alternative_name;
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, sorted
};

// The certificate of dedicated mode from files; all three or none.
struct CertificatePaths {
    std::string chain, key, roots;
    [[nodiscard]] bool given() const { return !chain.empty(); }
};

struct OwnIdentity {
    std::string instance_ip, pod_name, pod_namespace, service_account, trust_domain = "cluster.local";
};

// DNS_PROXY_ADDR: a port on loopback, or one address.
struct DnsAddress {
    uint16_t port = 15053;
    std::string address;  // "ip:port"; empty: loopback
};

struct Settings {
    ProxySettings proxy;
    TlsSettings tls;
    bool proxy_enabled = true;
    bool dns_proxy = true;
    DnsAddress dns_address;
    std::string preferred_service_namespace;
    ProxyMode mode = ProxyMode::Shared;
    std::optional<WorkloadInfo> workload;  // set in dedicated mode
    OwnIdentity own;
    std::string cluster_id = "Kubernetes";
    std::string cluster_domain = "cluster.local";
    ControlChannel xds, ca;
    CertificatePaths certificate;
    std::string auth_token;
    std::string node_certificate, node_key;  // files of the node agent, shown to both of them; empty: off
    std::chrono::seconds secret_ttl{24 * 60 * 60};
    bool xds_on_demand = false;
    OnDemandOptions on_demand;
    std::string local_xds_path, local_xds;             // at most one is set
    std::map<std::string, std::string> metadata;       // proxyMetadata with ISTIO_META_*, prefix stripped
    std::map<std::string, std::string> json_metadata;  // ISTIO_METAJSON_*: JSON texts
    uint32_t worker_threads = 2;
    std::chrono::milliseconds drain_deadline{5000};
    std::string inpod_uds = "/var/run/ztunnel/ztunnel.sock";
    std::string flow_socket;  // of the node agent; empty: off
    std::string crl_path;     // empty: off
    bool policy_info_logging = false;
    std::string local_ca;  // a directory; empty: off
    bool dumpable = false;
    uint16_t admin_port = 15000, stats_port = 15020, readiness_port = 15021;
    base::log::Filter log_filter;
    base::log::Format log_format = base::log::Format::Text;
    std::string istio_version = "unknown";
    // What was read and where from, for the log and for config_dump; and what was left out and why.
    base::config::Effective effective;
    std::vector<std::string> notices;
};

using Environment = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] Environment environment_of(const char* const* environ_list);  // NAME=value texts ended by null, as in environ(7)

struct SettingsSources {
    Environment env;
    std::optional<std::string> mesh_config;  // the text of kMeshConfigPath, where that exists
    uint32_t cpus = 1;                       // that the process may run on
    uint64_t descriptors = 1 << 20;          // that it may open
};
inline constexpr const char* kMeshConfigPath = "./etc/istio/config/mesh";

[[nodiscard]] base::Result<Settings> read_settings(const SettingsSources& sources);
// From this process: its environment, its mesh config file and its CPUs.
[[nodiscard]] base::Result<SettingsSources> own_sources();
// Every variable as a Markdown table.
[[nodiscard]] std::string settings_reference();

}  // namespace warren::ztunnel
