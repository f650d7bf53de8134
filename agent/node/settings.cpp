// SPDX-License-Identifier: Apache-2.0
#include "agent/node/settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <unistd.h>

namespace warren::node {
namespace {

using base::config::Decl;
using base::config::Schema;
using namespace std::chrono_literals;

// What needs more than a conversion once everything was read.
struct Raw {
    Settings to;
    std::vector<std::string> ranges, flow_readers, overrides;
    std::string log_level = "info";
};

// "flows.log" -> WARREN_FLOWS_LOG, --flows-log
Decl key(const std::string& name, std::string help, std::vector<std::string> other_env = {}) {
    std::string variable = "WARREN_" + name, flag = "--" + name;
    for (char& c : variable) c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::replace(flag.begin(), flag.end(), '.', '-');
    std::replace(flag.begin(), flag.end(), '_', '-');
    std::vector<std::string> env = {variable};
    env.insert(env.end(), other_env.begin(), other_env.end());
    return {.name = name, .env = std::move(env), .flag = flag, .help = std::move(help)};
}

void declare_places(Schema& s, Settings& to) {
    s.text(key("instance", "name of this agent among others on the machine: pins, sockets"), to.instance, 32);
    s.text(key("node.name", "this node, as the control plane names it", {"NODE_NAME"}), to.node_name);
    s.text(key("run_dir", "folder for the local sockets; default /run/<instance>"), to.run_dir, 64);
    s.text(key("state_dir", "folder for what outlives a restart; default: run_dir"), to.state_dir);
    s.text(
        key("daemonset", "NAMESPACE/NAME of the agent's own: where it is removed, the agent takes all of Warren off the node at its end"),
        to.daemonset);
    s.text(key("bpffs", "mount point of the BPF file system"), to.bpffs);
    s.text(key("node_netns", "the node's own network namespace; another one where several nodes share a machine"), to.node_netns);
    s.text(key("cgroup_root", "cgroup2 folder whose processes are looked at; default: the cgroup2 mount"), to.cgroup_root);
}

void declare_kubernetes(Schema& s, Settings& to) {
    s.boolean(key("kubernetes.enabled", "this node's pods come from the API server"), to.kubernetes);
    s.text(key("kubernetes.kubeconfig", "file; default: $KUBECONFIG, then the pod's service account"), to.kubeconfig);
    s.text(key("kubernetes.enablement_selectors", "YAML list of podSelector, namespaceSelector; default: istio.io/dataplane-mode",
               {"AMBIENT_ENABLEMENT_SELECTOR"}),
           to.enablement_selectors, 64 * 1024);
    s.list(key("kubernetes.exclude_namespaces", "whose pods are never enrolled; default kube-system", {"EXCLUDE_NAMESPACES"}),
           to.excluded_namespaces, 1000);
    s.text(key("kubernetes.namespace", "the agent's own", {"POD_NAMESPACE"}), to.own_namespace);
    s.boolean(key("kubernetes.network_policies", "same-node connections that a NetworkPolicy would block take the tunnel"),
              to.network_policies);
    s.text(key("kubernetes.proc", "the node's /proc"), to.proc);
    s.boolean(key("cni.install", "install the CNI plugin on the node and keep it there"), to.cni_install);
    s.text(key("cni.conf_dir", "the runtime's configurations"), to.cni_conf_dir);
    s.text(key("cni.bin_dir", "the runtime's plugins"), to.cni_bin_dir);
    s.text(key("cni.conf_name", "configuration to chain into; default: the first", {"CNI_CONF_NAME"}), to.cni_conf_name);
    s.text(key("cni.plugin_name", "of the binary and of its element in the chain"), to.cni_plugin_name, 64);
    s.text(key("cni.binary", "the plugin to install"), to.cni_binary);
    s.duration(key("cni.deadline", "a pod's sandbox waits so long for capture, then fails and is tried again"), to.cni_deadline, 100ms,
               60s);
    s.choice(key("cni.unknown_namespaces", "pods of namespaces made while the agent is away"), to.cni_unknown_waits,
             {{"start", false}, {"wait", true}});
}

void declare_mesh(Schema& s, Settings& to) {
    s.text(key("pods.file", "YAML file of this node's pods, watched"), to.pods_file);
    s.text(key("mesh.file", "YAML file of workloads, services and policies, watched", {"LOCAL_XDS_PATH"}), to.mesh_file);
    s.text(key("xds.address", "control plane: https://HOST:PORT; empty: none", {"XDS_ADDRESS"}), to.xds_address);
    s.text(key("xds.roots", "PEM file that verifies it, or SYSTEM", {"XDS_ROOT_CA"}), to.xds_roots);
    s.text(key("xds.alternative_host", "another name that its certificate may carry", {"ALT_XDS_HOSTNAME"}), to.xds_alternative_host);
    s.text(key("xds.token", "file with the bearer token, read anew for each stream", {"AUTH_TOKEN_FILE"}), to.xds_token);
    s.text(key("xds.revocations", "file that gets warren-controller's revocation lists, for CRL_PATH of the tunnel; empty: not asked for"),
           to.xds_revocations);
    s.text(key("join.token", "file with a bootstrap token, for which the control plane gives this node a certificate of its own"),
           to.join_token);
    s.text(key("join.state", "file that keeps it, with its key (0600); default: <state_dir>/node.pem"), to.join_state);
    s.text(key("tunnel_xds.address", "the mesh for a stock tunnel: loopback IP:PORT, over TLS; empty: the Unix socket only"),
           to.tunnel_xds_address);
    s.text(key("tunnel_xds.token", "file with the bearer token that it has to show there, read anew for each stream"), to.tunnel_xds_token);
    s.text(key("cluster_id", "own cluster", {"CLUSTER_ID"}), to.cluster_id);
    s.text(key("network", "own network", {"NETWORK"}), to.network);
    s.text(key("trust_domain", "of pods that the mesh does not know yet", {"TRUST_DOMAIN"}), to.trust_domain);
}

void declare_paths(Schema& s, Raw& raw) {
    Settings& to = raw.to;
    s.boolean(key("redirection", "capture traffic; false beside a stock node agent"), to.redirection);
    s.choice(key("tunnel.kind", "whose tunnel serves this node"), to.tunnel,
             {{"warren", TunnelKind::Warren}, {"stock", TunnelKind::Stock}});
    s.choice(key("same_node.mode", "pods of this node among themselves"), to.same_node,
             {{"direct", SameNode::Direct}, {"encrypted", SameNode::Encrypted}, {"off", SameNode::Off}});
    s.list(key("same_node.overrides", "namespace[/workload]=direct|encrypted|off"), raw.overrides, 1000);
    s.list(key("ranges", "CIDRs of pods and services: what lies outside and is unknown to the mesh bypasses the tunnel"), raw.ranges, 100);
    s.text(key("kubelet_cgroup", "cgroup whose probes pass; default: found by process name"), to.kubelet_cgroup);
    s.boolean(key("dns_capture", "pods' DNS goes to the tunnel unless a pod opts out"), to.dns_capture);
    s.boolean(key("cubic", "local connections use cubic where the node's default paces"), to.cubic);
    s.integer(key("max_connections", "connections being opened at once"), to.max_connections, 1024u, 4'000'000u);
    s.integer(key("max_pods", "pods of this node"), to.max_pods, 16u, 4096u);
}

void declare_signals(Schema& s, Raw& raw) {
    Settings& to = raw.to;
    s.boolean(key("flows.enabled", "account for enrolled pods' connections"), to.flows);
    s.boolean(key("flows.all_pods", "for observed pods' connections too"), to.flows_of_all_pods);
    s.text(key("flows.log", "file for flows as JSON lines; empty: none"), to.flow_log);
    s.list(key("flows.readers", "numeric users who may read the live stream, beside root"), raw.flow_readers, 100);
    s.duration(key("flows.sample_period", "between looks at open connections"), to.sample_period, 1s, 1h);
    s.socket_addr(key("admin.address", "status and node page"), to.admin_address);
    s.socket_addr(key("metrics.address", "Prometheus metrics"), to.metrics_address);
    s.socket_addr(key("ready.address", "readiness"), to.ready_address);
    s.text(key("log.level", "level, or area:level,...", {"RUST_LOG"}), raw.log_level);
    s.choice(key("log.format", "plain text or JSON lines"), to.log_format,
             {{"text", base::log::Format::Text}, {"json", base::log::Format::Json}});
}

void declare(Schema& s, Raw& raw) {
    declare_places(s, raw.to);
    declare_kubernetes(s, raw.to);
    declare_mesh(s, raw.to);
    declare_paths(s, raw);
    declare_signals(s, raw);
}

base::Result<void> check_name(const std::string& what, const std::string& name) {
    const bool fine = !name.empty() &&
                      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
    if (!fine) return base::invalid(what + " '" + name + "': letters, digits, - and _ only");
    return {};
}

base::Result<SameNodeOverride> override_from(const std::string& text) {
    const size_t equals = text.find('='), slash = text.find('/');
    const std::string where = "same_node.overrides '" + text + "'";
    if (equals == std::string::npos) return base::invalid(where + ": it is namespace[/workload]=direct|encrypted|off");
    auto mode = parse_same_node(std::string_view(text).substr(equals + 1));
    if (!mode) return std::move(mode).error().with(where);
    if (slash >= equals) return SameNodeOverride{text.substr(0, equals), {}, *mode};
    return SameNodeOverride{text.substr(0, slash), text.substr(slash + 1, equals - slash - 1), *mode};
}

base::Result<void> check_tunnel_xds(const Settings& to) {
    if (to.tunnel_xds_address.empty()) {
        if (!to.tunnel_xds_token.empty()) return base::invalid("tunnel_xds.token is set and tunnel_xds.address is not: set both or none");
        return {};
    }
    auto address = base::SockAddr::parse(to.tunnel_xds_address);
    if (!address) return std::move(address).error().with("tunnel_xds.address '" + to.tunnel_xds_address + "'");
    if (!address->ip.is_loopback())
        return base::invalid("tunnel_xds.address '" + to.tunnel_xds_address +
                             "': it serves this machine's tunnel; give a loopback address");
    if (to.tunnel_xds_token.empty())
        return base::invalid("tunnel_xds.address is set and tunnel_xds.token is not: any process of the node could read the mesh there");
    return {};
}

base::Result<void> check_sources(const Settings& to) {
    TRY(check_tunnel_xds(to));
    if (to.kubernetes && !to.pods_file.empty()) {
        return base::invalid("both kubernetes.enabled and pods.file are set: this node's pods come from one of them");
    }
    if (to.cni_install && !to.kubernetes) return base::invalid("cni.install needs kubernetes.enabled: who else would say which pods count");
    if (to.cni_install && !to.redirection) return base::invalid("cni.install with redirection: false: nothing would ever be captured");
    if (to.cni_install) TRY(check_name("cni.plugin_name", to.cni_plugin_name));
    if (!to.mesh_file.empty() && !to.xds_address.empty()) {
        return base::invalid("both mesh.file and xds.address are set: the mesh comes from one of them");
    }
    if (to.mesh_file.empty() && to.xds_address.empty()) {
        return base::invalid("neither mesh.file nor xds.address is set: the agent needs to know the mesh from somewhere");
    }
    if (!to.xds_revocations.empty() && to.xds_address.empty()) {
        return base::invalid("xds.revocations is set and xds.address is not: there is no control plane to have the lists from");
    }
    if (to.joins() && to.xds_address.empty()) {
        return base::invalid("join.token or join.state is set and xds.address is not: there is no control plane to join");
    }
    if (to.joins() && to.xds_address.starts_with("unix:")) {
        return base::invalid("xds.address '" + to.xds_address + "': a node joins over https://HOST:PORT; unset join.token and join.state");
    }
    if (to.pods_file.empty() && !to.kubernetes)
        return base::invalid("neither pods.file nor kubernetes.enabled is set: the agent needs to know this node's pods from somewhere");
    return {};
}

base::Result<void> finish(Raw& raw) {
    Settings& to = raw.to;
    TRY(check_name("instance", to.instance));
    if (to.node_name.empty()) {
        char host[256] = {};
        if (::gethostname(host, sizeof host - 1) != 0) return base::os_error("gethostname");
        to.node_name = host;
    }
    if (to.run_dir.empty()) to.run_dir = "/run/" + to.instance;
    if (to.state_dir.empty()) to.state_dir = to.run_dir;
    if (!to.join_token.empty() && to.join_state.empty()) to.join_state = to.state_dir + "/node.pem";
    for (const std::string& text : raw.ranges) {
        auto cidr = base::Cidr::parse(text);
        if (!cidr) return std::move(cidr).error().with("ranges '" + text + "'");
        to.ranges.push_back(*cidr);
    }
    for (const std::string& text : raw.flow_readers) {
        uint32_t uid = 0;
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), uid);
        if (failed != std::errc() || end != text.data() + text.size()) {
            return base::invalid("flows.readers '" + text + "': a numeric user id");
        }
        to.flow_readers.push_back(uid);
    }
    for (const std::string& text : raw.overrides) to.same_node_overrides.push_back(TRY(override_from(text)));
    TRY(SameNodeRules::make(to.same_node, to.same_node_overrides));
    to.log_filter = TRY(base::log::Filter::parse(raw.log_level));
    return {};
}

}  // namespace

base::Result<ReadSettings> read_settings(const base::config::Sources& sources, Purpose purpose) {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    auto effective = TRY(schema.read(sources));
    if (!effective.help) {
        TRY(finish(raw));
        if (purpose == Purpose::Run) TRY(check_sources(raw.to));
    }
    return ReadSettings{std::move(raw.to), std::move(effective)};
}

std::string settings_help() {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    return schema.help("warren-agent");
}

std::string settings_reference() {
    Raw raw;
    Schema schema;
    declare(schema, raw);
    return schema.reference();
}

}  // namespace warren::node
