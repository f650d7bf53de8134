// SPDX-License-Identifier: Apache-2.0
#include "agent/node/agent_metrics.h"

#include <string>
#include <utility>

namespace warren::node {
namespace {

using base::metrics::Collection;

void kernel(Collection& out, const NodeReport& node) {
    for (size_t i = 0; i < WR_STAT_COUNT; ++i) {
        out.counter("warren_kernel_decisions_total", "What the kernel programs decided, by way out",
                    {{"decision", stat_name(static_cast<wr_stat>(i))}}, static_cast<double>(node.stats[i]));
    }
    for (const MapReport& map : node.maps) {
        out.gauge("warren_kernel_map_bytes", "Memory of a kernel map", {{"map", map.name}}, static_cast<double>(map.bytes));
    }
    const auto fill = [&out](const char* name, const Occupancy& o) {
        out.gauge("warren_kernel_map_used", "Connections between SYN and acceptance", {{"map", name}}, static_cast<double>(o.used));
        out.gauge("warren_kernel_map_capacity", "Room for connections between SYN and acceptance", {{"map", name}}, o.capacity);
    };
    fill("wr_handover", node.handover);
    fill("wr_announced", node.announced);
    out.counter("warren_kernel_hooks_repaired_total", "Hooks that somebody detached and that were put back", {},
                static_cast<double>(node.attachments.repaired));
    out.gauge("warren_kernel_hooks_missing", "Hooks that could not be put back", {}, static_cast<double>(node.last_check.failed.size()));
}

void pods(Collection& out, const NodeReport& node) {
    const EnrolmentCounts& e = node.enrolment;
    const auto gauge = [&out](const char* state, size_t n) {
        out.gauge("warren_agent_pods", "Pods of this node by state", {{"state", state}}, static_cast<double>(n));
    };
    gauge("enrolled", e.enrolled);
    gauge("observed", e.observed);
    gauge("waiting", e.waiting);
    gauge("failing", e.failing);
    out.counter("warren_agent_pods_joined_total", "Pods captured", {}, static_cast<double>(e.joined));
    out.counter("warren_agent_pods_left_total", "Pods let go", {}, static_cast<double>(e.left));
    out.counter("warren_agent_pods_refused_total", "Pods that may not be captured", {}, static_cast<double>(e.refused));
    out.gauge("warren_agent_tunnels", "Tunnels connected", {}, static_cast<double>(node.tunnels.size()));
    out.counter("warren_agent_tunnel_sessions_total", "Connections of tunnels", {}, static_cast<double>(node.zds.sessions));
    out.counter("warren_agent_tunnel_timeouts_total", "Tunnels cut because they did not answer", {},
                static_cast<double>(node.zds.timeouts));
    out.counter("warren_agent_tunnel_refused_pods_total", "Pods that a tunnel could not take at once", {},
                static_cast<double>(node.zds.refused_pods));
}

void tables(Collection& out, const NodeReport& node) {
    out.gauge("warren_agent_verdict_rows", "Same-node verdicts in the kernel", {}, static_cast<double>(node.verdicts.rows));
    out.gauge("warren_agent_verdict_pairs_left_to_tunnel", "Pairs of pods beyond a limit of the verdict table", {},
              static_cast<double>(node.verdicts.too_many_ports + node.verdicts.beyond_limit));
    out.gauge("warren_agent_network_policy_pods", "Pods of this node that take the tunnel on it for some port because of a NetworkPolicy",
              {}, static_cast<double>(node.verdicts.network_policy_pods));
    out.gauge("warren_agent_service_addresses", "Service addresses drawn in the kernel", {}, static_cast<double>(node.services.drawn));
    out.counter("warren_agent_table_write_failures_total", "Kernel rows that could not be written", {},
                static_cast<double>(node.tables.failed_writes));
    out.gauge("warren_agent_table_update_seconds", "Duration of the latest table update", {},
              static_cast<double>(node.tables.last_update_us) / 1e6);
    out.counter("warren_agent_connections_ended_total", "Open connections ended because policy denies them now", {},
                static_cast<double>(node.judge.ended));
    out.gauge("warren_agent_judge_seconds", "From a changed verdict to the end of the connections it denies, the latest", {},
              static_cast<double>(node.judge.last_us) / 1e6);
    out.counter("warren_agent_conntrack_forgotten_total",
                "Ended connections from before a pod was captured, deleted from connection tracking", {},
                static_cast<double>(node.conntrack.forgotten));
    out.counter("warren_agent_conntrack_cut_total", "Looks at connection tracking that ended at their bound", {},
                static_cast<double>(node.conntrack.cut));
    out.counter("warren_agent_conntrack_rows_total", "Entries of connection tracking read", {}, static_cast<double>(node.conntrack.rows));
    out.counter("warren_agent_conntrack_failures_total", "Looks at connection tracking that failed", {},
                static_cast<double>(node.conntrack.failures));
}

void kube(Collection& out, const KubeEnrolmentStatus& k) {
    out.gauge("warren_agent_kube_synced", "1: all pods and namespaces of the API server have been here", {}, k.pods.synced ? 1 : 0);
    out.gauge("warren_agent_kube_pods", "Pods of this node that the API server has", {}, static_cast<double>(k.pods.pods));
    out.gauge("warren_agent_kube_pods_lost", "Eligible pods whose namespace was not found", {}, static_cast<double>(k.pods.lost));
    out.counter("warren_agent_kube_scans_total", "Looks through the node's processes for pods' namespaces", {},
                static_cast<double>(k.pods.scans));
    out.counter("warren_agent_kube_patches_total", "Pods whose annotation was written", {}, static_cast<double>(k.pods.patches));
    out.counter("warren_agent_kube_patch_failures_total", "Annotations of pods that could not be written", {},
                static_cast<double>(k.pods.patch_failures));
    out.counter("warren_agent_kube_malformed_total", "Objects of the API server that did not read", {},
                static_cast<double>(k.pods.malformed));
    const NetworkPolicyStatus& n = k.pods.network_policies;
    for (const auto& [read, count] : {std::pair<const char*, size_t>{"yes", n.policies - n.unread}, {"no", n.unread}}) {
        out.gauge("warren_agent_network_policies", "NetworkPolicies of the cluster, by whether they could be looked at", {{"read", read}},
                  static_cast<double>(count));
    }
    out.gauge("warren_agent_network_policies_known", "1: NetworkPolicies were listed; 0: no same-node connection takes the tunnel for one",
              {}, n.known ? 1 : 0);
    const CniServerStats& c = k.cni;
    for (const auto& [answer, count] : {std::pair<const char*, uint64_t>{"passed", c.passed},
                                        {"captured", c.captured},
                                        {"later", c.later},
                                        {"refused", c.refused_peers + c.refused_full},
                                        {"malformed", c.malformed + c.timeouts}}) {
        out.counter("warren_agent_cni_questions_total", "Questions of the CNI plugin, by answer", {{"answer", answer}},
                    static_cast<double>(count));
    }
    out.gauge("warren_agent_cni_installed", "1: the plugin is in the runtime's chain", {}, k.install.installed ? 1 : 0);
    out.counter("warren_agent_cni_installs_total", "Times that the plugin was put into the chain", {},
                static_cast<double>(k.install.installs));
}

void signals(Collection& out, const AgentState& s) {
    out.gauge("warren_agent_ready", "1: nothing is waited for", {}, s.pending.empty() ? 1 : 0);
    out.gauge("warren_agent_mesh_synced", "1: the whole mesh has been here", {}, s.mesh.synced ? 1 : 0);
    out.gauge("warren_agent_mesh_connected", "1: the source of the mesh is there and good", {}, s.mesh.connected ? 1 : 0);
    if (s.mesh.join) {
        const auto expiry = std::chrono::duration<double>(s.mesh.join->not_after.time_since_epoch()).count();
        out.gauge("warren_agent_node_certificate_expiry_seconds", "End of the node's own certificate, in Unix time; 0: there is none", {},
                  expiry);
        out.counter("warren_agent_node_certificate_failures_total", "Attempts to join or to renew that failed", {},
                    static_cast<double>(s.mesh.join->failures));
    }
    if (s.mesh.revocations) {
        const RevocationStatus& r = *s.mesh.revocations;
        out.gauge("warren_agent_revocation_lists_issued_seconds",
                  "When the youngest revocation list in the file was made, in Unix time; 0: none", {},
                  std::chrono::duration<double>(r.issued.time_since_epoch()).count());
        out.gauge("warren_agent_revoked_serials", "Certificates on the revocation lists in the file", {}, static_cast<double>(r.serials));
        out.counter("warren_agent_revocation_lists_refused_total",
                    "Revocation lists that were not taken, or were gone; the file stayed as it was", {}, static_cast<double>(r.refused));
        out.counter("warren_agent_revocation_write_failures_total", "Attempts to write the revocation lists that failed", {},
                    static_cast<double>(r.failures));
    }
    out.counter("warren_agent_mesh_failures_total", "Readings of the mesh file that were refused, or NACKs", {},
                static_cast<double>(s.mesh.failures + s.mesh.upstream.nacks));
    out.gauge("warren_flows_open", "Connections open now", {}, static_cast<double>(s.flows.open));
    out.counter("warren_flows_lost_total", "Flow records lost, by where", {{"where", "kernel"}}, static_cast<double>(s.flows.kernel_lost));
    out.counter("warren_flows_lost_total", "Flow records lost, by where", {{"where", "tunnel"}}, static_cast<double>(s.flows.feed.lost));
    out.counter("warren_flows_reconciled_total", "Ends of connections that only a look at the sockets noticed", {},
                static_cast<double>(s.flows.table.reconciled));
    out.counter("warren_flows_untracked_total", "Connections beyond the table's bound, reported at their end only", {},
                static_cast<double>(s.flows.table.untracked));
}

}  // namespace

std::unique_ptr<base::metrics::Registry::Subscription> publish_agent_metrics(base::metrics::Registry& registry,
                                                                             std::function<std::optional<AgentState>()> look) {
    return registry.collect([look = std::move(look)](Collection& out) {
        const std::optional<AgentState> state = look();
        out.gauge("warren_agent_responsive", "1: the agent's loop answers", {}, state ? 1 : 0);
        out.gauge("warren_agent_build", "Version of the agent", {{"version", WARREN_VERSION}}, 1);
        if (!state) return;
        kernel(out, state->node);
        pods(out, state->node);
        tables(out, state->node);
        signals(out, *state);
        if (state->kube) kube(out, *state->kube);
    });
}

}  // namespace warren::node
