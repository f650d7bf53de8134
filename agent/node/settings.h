// SPDX-License-Identifier: Apache-2.0
// Settings of warren-agent: one YAML file, WARREN_* variables, flags; the later wins (base/config.h). Read by main() before threads start,
// plain values afterwards. Everything that two agents on one machine would fight over follows from `instance` and `run_dir`.
#pragma once

#include "agent/node/same_node.h"
#include "base/config.h"
#include "base/ip.h"
#include "base/log_filter.h"
#include "base/log_line.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace warren::node {

enum class TunnelKind : uint8_t {
    Warren,  // draws of service endpoints are handed to it; fed over the local socket
    Stock,   // a stock ambient tunnel, which asks its control plane itself: direct only where every candidate is local
};

struct Settings {
    std::string instance = "warren";
    std::string node_name;
    std::string run_dir;  // default /run/<instance>: sockets
    std::string bpffs = "/sys/fs/bpf";
    std::string cgroup_root;                    // empty: the cgroup2 mount
    std::string node_netns = "/proc/1/ns/net";  // the node's own: never captured
    std::string state_dir;                      // default <run_dir>: ids that must outlive a restart
    std::string daemonset;                      // NS/NAME that this agent is of; empty: it always leaves the kernel as it is

    // Whom the agent enrols, and where the mesh comes from.
    std::string pods_file;
    bool kubernetes = false;
    std::string kubeconfig;  // empty: $KUBECONFIG, the pod's own
    std::string enablement_selectors;
    std::vector<std::string> excluded_namespaces = {"kube-system"};
    std::string own_namespace;
    bool network_policies = true;
    std::string proc = "/proc";
    bool cni_install = false;
    std::string cni_conf_dir = "/etc/cni/net.d", cni_bin_dir = "/opt/cni/bin", cni_conf_name;
    std::string cni_plugin_name = "warren-cni", cni_binary = "/usr/local/bin/warren-cni";
    std::chrono::nanoseconds cni_deadline = std::chrono::seconds(5);
    bool cni_unknown_waits = false;
    std::string mesh_file;
    std::string xds_address;
    std::string xds_roots;
    std::string xds_alternative_host;
    std::string xds_token;
    std::string xds_revocations;     // a file that gets warren-controller's revocation lists; empty: not asked for
    std::string join_token;          // a file with a bootstrap token: the node has a certificate of its own
    std::string join_state;          // where that is kept; default <state_dir>/node.pem
    std::string tunnel_xds_address;  // of this machine, TLS; empty: the Unix socket only
    std::string tunnel_xds_token;    // a file: what the tunnel has to show there
    std::string cluster_id = "Kubernetes";
    std::string network;
    std::string trust_domain = "cluster.local";

    bool redirection = true;
    TunnelKind tunnel = TunnelKind::Warren;
    SameNode same_node = SameNode::Direct;
    std::vector<SameNodeOverride> same_node_overrides;
    std::vector<base::Cidr> ranges;  // pods and services; empty: everything may need the tunnel
    std::string kubelet_cgroup;      // empty: found by process name
    bool dns_capture = true;
    bool cubic = true;

    bool flows = true;
    bool flows_of_all_pods = false;
    std::string flow_log;
    std::vector<uint32_t> flow_readers;  // uids beside root and our own
    std::chrono::nanoseconds sample_period = std::chrono::seconds(10);

    uint32_t max_connections = 100'000;  // in flight at once: sizes of the hand-over and announcement maps follow
    uint32_t max_pods = 1024;

    std::string admin_address = "127.0.0.1:15030";  // status, node page; never beyond loopback unless asked for
    std::string metrics_address = "0.0.0.0:15031";
    std::string ready_address = "0.0.0.0:15032";
    base::log::Filter log_filter;
    base::log::Format log_format = base::log::Format::Text;

    [[nodiscard]] bool joins() const { return !join_state.empty(); }
    [[nodiscard]] std::string zds_socket() const { return run_dir + "/zds.sock"; }
    [[nodiscard]] std::string tunnel_xds_socket() const { return run_dir + "/xds.sock"; }
    [[nodiscard]] std::string tunnel_xds_state() const { return state_dir + "/xds-loopback.pem"; }
    [[nodiscard]] std::string tunnel_xds_root() const { return run_dir + "/xds-root.pem"; }
    [[nodiscard]] std::string feed_socket() const { return run_dir + "/feed.sock"; }
    [[nodiscard]] std::string cni_socket() const { return run_dir + "/cni.sock"; }
    [[nodiscard]] std::string cni_state() const { return state_dir + "/cni-state.json"; }
    [[nodiscard]] std::string flows_socket() const { return run_dir + "/flows.sock"; }
};

struct ReadSettings {
    Settings settings;
    base::config::Effective effective;
};

// To run, the agent needs to know where the mesh and the pods come from; to leave the kernel it does not.
enum class Purpose : uint8_t { Run, Uninstall };

// Errors name the key, the value, the place and the fix; --help is effective.help.
[[nodiscard]] base::Result<ReadSettings> read_settings(const base::config::Sources& sources, Purpose purpose = Purpose::Run);
[[nodiscard]] std::string settings_help();
[[nodiscard]] std::string settings_reference();  // the Markdown table of docs/agent.md

}  // namespace warren::node
