// SPDX-License-Identifier: Apache-2.0
#include "agent/node/status.h"

#include <nlohmann/json.hpp>

#include <array>
#include <set>

namespace warren::node {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, WR_STAT_COUNT> kStatNames = {"connect_tunnel",
                                                                    "connect_direct",
                                                                    "connect_denied",
                                                                    "connect_passthrough",
                                                                    "connect_self",
                                                                    "connect_exempt",
                                                                    "connect_probe",
                                                                    "connect_agent_port",
                                                                    "connect_unsupported",
                                                                    "verdict_miss",
                                                                    "dns",
                                                                    "handover_added",
                                                                    "handover_taken",
                                                                    "handover_full",
                                                                    "handover_expired",
                                                                    "announced",
                                                                    "announced_taken",
                                                                    "announced_full",
                                                                    "announced_expired",
                                                                    "inbound_direct",
                                                                    "inbound_plaintext",
                                                                    "inbound_hbone",
                                                                    "inbound_no_listener",
                                                                    "inbound_unknown",
                                                                    "storage_full",
                                                                    "events",
                                                                    "events_lost",
                                                                    "destroyed"};
static_assert(!kStatNames[WR_STAT_DESTROYED].empty(), "a name for each slot");

Json features(const NodeReport& node) {
    Json all = Json::array();
    for (const Feature& f : node.features) {
        Json one = {{"name", f.name}, {"available", f.available}, {"used", f.used}, {"required", f.required}};
        if (!f.why_not.empty()) one["why_not"] = f.why_not;
        all.push_back(std::move(one));
    }
    return all;
}

Json hooks(const NodeReport& node) {
    Json all = Json::array();
    for (const HookReport& h : node.hooks) {
        Json order = Json::array();
        for (const HookProgram& p : h.order) order.push_back({{"id", p.id}, {"name", p.name}, {"ours", p.ours}});
        all.push_back({{"hook", h.hook}, {"program", h.program}, {"program_id", h.program_id}, {"attached", h.attached}, {"order", order}});
    }
    return all;
}

Json kernel(const NodeReport& node) {
    Json maps = Json::array();
    for (const MapReport& m : node.maps) maps.push_back({{"name", m.name}, {"entries", m.entries}, {"bytes", m.bytes}});
    Json stats = Json::object();
    for (size_t i = 0; i < WR_STAT_COUNT; ++i) stats[std::string(kStatNames[i])] = node.stats[i];
    const auto fill = [](const Occupancy& o) { return Json{{"used", o.used}, {"capacity", o.capacity}, {"alarm", o.alarm()}}; };
    return {{"release", node.kernel},
            {"cgroup2_root", node.cgroup2_root},
            {"features", features(node)},
            {"hooks", hooks(node)},
            {"links", {{"node", node.attachments.node}, {"tunnel", node.attachments.tunnel}, {"pod", node.attachments.pod}}},
            {"repaired", node.attachments.repaired},
            {"unrepaired", node.last_check.failed},
            {"maps", maps},
            {"handover", fill(node.handover)},
            {"announced", fill(node.announced)},
            {"counters", stats}};
}

// Those that leave something out of what may reach the pod or leave it.
Json network_policies(const Pod& pod) {
    std::set<std::string> names;
    if (pod.network.pod)
        for (const auto* side : {&pod.network.pod->ingress, &pod.network.pod->egress})
            for (const NetworkPolicyRef& policy : *side) names.insert(policy->name);
    return Json(names);
}

Json network_policies(const NetworkPolicyStatus& n) {
    return {{"watched", n.watched},   {"known", n.known},   {"missing", n.missing},
            {"policies", n.policies}, {"unread", n.unread}, {"error", n.error}};
}

Json pods(const NodeReport& node) {
    std::map<std::string, const EnrolledPod*> enrolled;
    for (const EnrolledPod& pod : node.enrolled) enrolled[pod.pod->uid] = &pod;
    Json all = Json::array();
    for (const PodStatus& p : node.pods) {
        Json one = {{"uid", p.uid}, {"namespace", p.namespace_name}, {"name", p.name}, {"state", p.state}};
        if (!p.why.empty()) one["why"] = p.why;
        if (const auto found = enrolled.find(p.uid); found != enrolled.end()) {
            Json addresses = Json::array();
            for (const base::IpAddr& address : found->second->addresses) addresses.push_back(address.to_string());
            one["service_account"] = found->second->pod->service_account;
            one["id"] = found->second->id;
            one["addresses"] = addresses;
            one["tunnel_acknowledged"] = found->second->tunnel_acknowledged;
            if (Json names = network_policies(*found->second->pod); !names.empty()) one["network_policies"] = std::move(names);
        }
        all.push_back(std::move(one));
    }
    return all;
}

Json tunnels(const NodeReport& node) {
    Json all = Json::array();
    for (const TunnelStatus& t : node.tunnels) {
        all.push_back({{"pid", t.peer.pid}, {"synced", t.synced}, {"pods", t.pods}, {"waiting", t.waiting}, {"refused", t.refused}});
    }
    Json cgroups = Json::array();
    for (const auto& c : node.tunnel_cgroups) {
        cgroups.push_back({{"path", c.path}, {"id", c.id}, {"processes", c.processes}, {"shared", c.shared}});
    }
    return {{"connected", all},
            {"cgroups", cgroups},
            {"sessions", node.zds.sessions},
            {"timeouts", node.zds.timeouts},
            {"protocol_errors", node.zds.protocol_errors},
            {"refused_pods", node.zds.refused_pods}};
}

Json mesh(const MeshSourceStatus& m) {
    Json j = {{"source", m.kind}, {"from", m.from}, {"synced", m.synced}, {"connected", m.connected}};
    if (m.error) j["error"] = *m.error;
    if (m.kind == "file") {
        j["reloads"] = m.reloads;
        j["failures"] = m.failures;
    } else {
        j["acks"] = m.upstream.acks;
        j["nacks"] = m.upstream.nacks;
        j["attempts"] = m.upstream.attempts;
    }
    j["tunnels"] = m.tunnels;
    return j;
}

Json join(const NodeJoinStatus& n) {
    Json j = {{"identity", n.identity}, {"file", n.file}, {"joined", n.joined}, {"renewals", n.renewals}, {"failures", n.failures}};
    if (n.not_after != base::WallTime{}) {
        j["not_before"] = base::to_rfc3339(n.not_before, 0);
        j["not_after"] = base::to_rfc3339(n.not_after, 0);
        j["renew_at"] = base::to_rfc3339(n.renew_at, 0);
    }
    if (!n.error.empty()) j["error"] = n.error;
    return j;
}

Json revocations(const RevocationStatus& r) {
    Json j = {{"file", r.file},       {"lists", r.lists},     {"serials", r.serials},
              {"written", r.written}, {"refused", r.refused}, {"failures", r.failures}};
    if (r.issued != base::WallTime{}) j["issued"] = base::to_rfc3339(r.issued, 0);
    if (!r.error.empty()) j["error"] = r.error;
    return j;
}

Json tables(const NodeReport& node) {
    return {{"verdict_rows", node.verdicts.rows},
            {"verdict_pairs", node.verdicts.pairs},
            {"pairs_with_too_many_ports", node.verdicts.too_many_ports},
            {"pairs_beyond_limit", node.verdicts.beyond_limit},
            {"network_policy_pods", node.verdicts.network_policy_pods},
            {"network_policy_pairs", node.verdicts.network_policy_pairs},
            {"service_addresses", node.services.addresses},
            {"service_addresses_drawn", node.services.drawn},
            {"service_endpoints", node.services.endpoints},
            {"ranges", node.tables.ranges},
            {"ranges_in_force", node.tables.ranges_in_force},
            {"updates", node.tables.updates},
            {"failed_writes", node.tables.failed_writes},
            {"last_update_us", node.tables.last_update_us}};
}

Json flows(const AgentState& s) {
    return {{"open", s.flows.open},
            {"opened", s.flows.table.opened},
            {"closed", s.flows.table.closed},
            {"reconciled", s.flows.table.reconciled},
            {"untracked", s.flows.table.untracked},
            {"bytes_to_destination", s.flows.table.to_destination},
            {"bytes_to_source", s.flows.table.to_source},
            {"kernel_records", s.flows.records},
            {"kernel_lost", s.flows.kernel_lost},
            {"tunnel_flows", s.flows.feed.flows},
            {"tunnel_lost", s.flows.feed.lost},
            {"streams", s.flow_service.open}};
}

Json kubelets(const NodeReport& node) {
    Json all = Json::array();
    for (const KubeletReport& k : node.kubelets) {
        all.push_back({{"program", k.program}, {"cgroup", k.cgroup}, {"shared_with", k.shared_with}});
    }
    return all;
}

Json enrolment(const NodeReport& node) {
    const EnrolmentCounts& e = node.enrolment;
    return {{"enrolled", e.enrolled}, {"observed", e.observed}, {"waiting", e.waiting}, {"failing", e.failing},   {"refused", e.refused},
            {"joined", e.joined},     {"left", e.left},         {"adopted", e.adopted}, {"settled", node.settled}};
}

Json judge(const NodeReport& node) {
    return {{"available", node.can_judge},
            {"runs", node.judge.runs},
            {"ended", node.judge.ended},
            {"failed", node.judge.failed},
            {"last_us", node.judge.last_us}};
}

Json conntrack(const NodeReport& node) {
    return {{"looks", node.conntrack.looks},       {"forgotten", node.conntrack.forgotten},
            {"failures", node.conntrack.failures}, {"cut", node.conntrack.cut},
            {"rows", node.conntrack.rows},         {"last_us", node.conntrack.last_us},
            {"watched", node.conntrack.watched},   {"unavailable", node.conntrack.unavailable},
            {"error", node.conntrack.error}};
}

Json pods_file(const PodFileSource::Status& p) {
    Json j = {{"loads", p.loads}, {"failures", p.failures}, {"pods", p.pods}};
    if (p.error) j["error"] = *p.error;
    return j;
}

Json kubernetes(const PodKubeStatus& p) {
    Json j = {{"synced", p.synced},       {"pods", p.pods},   {"namespaces", p.namespaces}, {"enrolled", p.enrolled},
              {"lost", p.lost},           {"scans", p.scans}, {"patches", p.patches},       {"patch_failures", p.patch_failures},
              {"malformed", p.malformed}, {"error", p.error}};
    j["network_policies"] = network_policies(p.network_policies);
    return j;
}

Json cni_plugin(const KubeEnrolmentStatus& k) {
    const CniServerStats& c = k.cni;
    return {{"questions", c.questions},
            {"passed", c.passed},
            {"captured", c.captured},
            {"later", c.later},
            {"by_namespace", k.pods.cni_fallbacks},
            {"refused", c.refused_peers + c.refused_full},
            {"malformed", c.malformed + c.timeouts},
            {"installs", k.installs},
            {"installed", k.install.installed},
            {"configuration", k.install.conf},
            {"written", k.install.installs},
            {"error", k.install.error}};
}

}  // namespace

std::string_view stat_name(wr_stat stat) { return kStatNames[stat]; }

std::string status_json(const AgentState& s) {
    Json j = {{"node", s.settings->node_name},
              {"instance", s.settings->instance},
              {"version", WARREN_VERSION},
              {"uptime_seconds", s.uptime_seconds},
              {"ready", s.pending.empty()},
              {"waiting_for", s.pending},
              {"redirection", s.settings->redirection},
              {"same_node", to_string(s.settings->same_node)},
              {"mesh", mesh(s.mesh)},
              {"enrolment", enrolment(s.node)},
              {"pods", pods(s.node)},
              {"tunnel", tunnels(s.node)},
              {"tables", tables(s.node)},
              {"judge", judge(s.node)},
              {"conntrack", conntrack(s.node)},
              {"flows", flows(s)},
              {"kubelet", kubelets(s.node)},
              {"kernel", kernel(s.node)}};
    if (s.mesh.join) j["join"] = join(*s.mesh.join);
    if (s.mesh.revocations) j["revocations"] = revocations(*s.mesh.revocations);
    if (s.pods_file) j["pods_file"] = pods_file(*s.pods_file);
    if (s.kube) {
        j["kubernetes"] = kubernetes(s.kube->pods);
        j["cni"] = cni_plugin(*s.kube);
    }
    return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace warren::node
