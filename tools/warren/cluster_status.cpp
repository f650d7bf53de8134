// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/cluster_status.h"

#include "tools/warren/daemons.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <ostream>
#include <thread>

namespace warren::tools {
namespace {

using Part = MeshPod::Part;

constexpr size_t kAtOnce = 8;

const MeshPod* pod_on(const Cluster& cluster, const std::string& node, Part part) {
    const auto found = std::find_if(cluster.pods().begin(), cluster.pods().end(),
                                    [&](const MeshPod& pod) { return pod.node == node && pod.part == part; });
    return found == cluster.pods().end() ? nullptr : &*found;
}

base::Result<Json> ask_agent(const Context& context, const MeshPod* agent) {
    if (agent == nullptr) return base::Error{base::Errc::NotFound, 0, "", "no agent runs there"};
    const std::string& address = context.globals.agent;
    const Way way = TRY(open_way(context, *agent, address.substr(address.rfind(':') + 1)));
    return parse_json(TRY(ask_at(context, agent_of(context), way.address, "/status")), "the agent's answer");
}

Cell shown(const MeshPod* pod) {
    if (pod == nullptr) return {"none", Tone::Bad};
    return pod->ready ? Cell("ready", Tone::Good) : Cell("not ready", Tone::Bad);
}

Json json_of(const MeshPod* pod) {
    if (pod == nullptr) return {};
    Json out = {{"namespace", pod->ns}, {"pod", pod->name}, {"ready", pod->ready}};
    if (!pod->ready) out["why"] = pod->why;
    return out;
}

std::string why_not(const MeshPod* agent, const MeshPod* tunnel, const base::Result<Json>& status) {
    if (!status) return status.error().message();
    if (!flag_at(*status, "ready")) {
        std::string out = "the agent waits for";
        for (const Json& one : list_at(*status, "waiting_for")) out += ' ' + text_of(one);
        return out;
    }
    if (tunnel != nullptr && !tunnel->ready) return tunnel->why;
    if (agent != nullptr && !agent->ready) return agent->why;
    return number_at(at(*status, "enrolment"), "failing") != 0 ? "pods that could not be enrolled: --on-node shows them" : "";
}

// True: it is in order.
bool add_node(const std::string& node, const Cluster& cluster, const base::Result<Json>& status, Table& table, Json& to) {
    const MeshPod *agent = pod_on(cluster, node, Part::Agent), *tunnel = pod_on(cluster, node, Part::Tunnel);
    const std::string why = why_not(agent, tunnel, status);
    const Json none;
    const Json &s = status ? *status : none, &enrolment = at(s, "enrolment"), &flows = at(s, "flows");
    const bool trouble = !why.empty() || tunnel == nullptr;
    table.add(
        {node,
         !status               ? Cell("no answer", Tone::Bad)
         : flag_at(s, "ready") ? shown(agent)
                               : Cell("not ready", Tone::Bad),
         shown(tunnel),
         text_at(enrolment, "enrolled") + (number_at(enrolment, "failing") != 0 ? ", " + text_at(enrolment, "failing") + " failing" : ""),
         text_at(flows, "open"),
         text_at(s, "version"),
         {why, Tone::Warn}});
    Json one = {{"node", node}, {"agent", json_of(agent)}, {"tunnel", json_of(tunnel)}, {"inOrder", !trouble}};
    one["status"] = status ? s : Json{{"error", status.error().message()}};
    to.push_back(std::move(one));
    return !trouble;
}

}  // namespace

std::map<std::string, base::Result<Json>> ask_agents(const Context& context, const Cluster& cluster) {
    const std::vector<std::string> nodes = cluster.nodes();
    std::map<std::string, base::Result<Json>> out;
    std::mutex mutex;
    std::atomic<size_t> next = 0;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < std::min(kAtOnce, nodes.size()); ++i) {
        threads.emplace_back([&] {
            for (size_t at = next++; at < nodes.size(); at = next++) {
                auto answer = ask_agent(context, pod_on(cluster, nodes[at], Part::Agent));
                const std::lock_guard lock(mutex);
                out.emplace(nodes[at], std::move(answer));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    return out;
}

base::Result<int> status_of_nodes(const Context& context, Cluster& cluster) {
    Table table({"NODE", "AGENT", "TUNNEL", "PODS", "OPEN", "VERSION", "WHY"});
    Json nodes = Json::array(), controllers = Json::array();
    bool in_order = true, any = false;
    for (const auto& [node, status] : ask_agents(context, cluster)) {
        in_order = add_node(node, cluster, status, table, nodes) && in_order;
        any = true;
    }
    Table control({"CONTROLLER", "NODE", "STATE", "WHY"});
    bool serves = !cluster.has_controller();
    for (const MeshPod& pod : cluster.pods()) {
        if (pod.part != Part::Controller) continue;
        control.add({pod.ns + '/' + pod.name, pod.node, shown(&pod), pod.why});
        controllers.push_back(json_of(&pod));
        serves = serves || pod.ready;
    }
    if (context.for_people()) {
        context.out << table.render(context.colour());
        if (cluster.has_controller()) context.out << '\n' << control.render(context.colour());
    } else {
        context.print({{"nodes", std::move(nodes)}, {"controllers", std::move(controllers)}});
    }
    return in_order && any && serves ? kOk : kFindings;
}

}  // namespace warren::tools
