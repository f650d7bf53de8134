// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/cluster_status.h"
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"

#include <CLI/CLI.hpp>

#include <ostream>

namespace warren::tools {
namespace {

std::string joined(const Json& list) {
    std::string out;
    for (const Json& one : list) out += (out.empty() ? "" : ", ") + text_of(one);
    return out;
}

std::string ago(uint64_t seconds) {
    if (seconds < 120) return std::to_string(seconds) + "s";
    if (seconds < 7200) return std::to_string(seconds / 60) + "m";
    return seconds < 172'800 ? std::to_string(seconds / 3600) + "h" : std::to_string(seconds / 86'400) + "d";
}

// The agent's words are apart with underscores, the controller's by capitals.
Cell ready(const Json& s) {
    if (flag_at(s, "ready")) return {"ready", Tone::Good};
    return {"not ready, waits for " + joined(list_at(s, "waiting_for")) + joined(list_at(s, "waitingFor")), Tone::Bad};
}

void network_policy_row(const Json& s, Table& table) {
    const Json& n = at(at(s, "kubernetes"), "network_policies");
    if (!flag_at(n, "watched")) return;
    if (!flag_at(n, "known")) {
        table.add({"", {"network policies are not known: " + text_at(n, "error"), Tone::Warn}});
        return;
    }
    const uint64_t unread = number_at(n, "unread");
    table.add({"",
               {text_at(n, "policies") + " network policies, " + text_at(at(s, "tables"), "network_policy_pods") +
                    " pods take the tunnel here for some port" + (unread != 0 ? ", " + std::to_string(unread) + " not read" : ""),
                unread != 0 ? Tone::Warn : Tone::Plain}});
}

void agent_rows(const Json& s, Table& table) {
    const Json &mesh = at(s, "mesh"), &enrolment = at(s, "enrolment"), &kernel = at(s, "kernel"), &flows = at(s, "flows");
    table.add({"agent", ready(s)});
    table.add({"", text_at(s, "node") + ", instance " + text_at(s, "instance") + ", version " + text_at(s, "version") + ", up " +
                       ago(number_at(s, "uptime_seconds"))});
    std::string source = text_at(mesh, "source") + ' ' + text_at(mesh, "from") + (flag_at(mesh, "synced") ? ", synced" : ", not synced");
    if (!flag_at(mesh, "connected")) source += ", not connected";
    if (const std::string error = text_at(mesh, "error"); !error.empty()) source += ": " + error;
    table.add({"mesh", {source, flag_at(mesh, "synced") && flag_at(mesh, "connected") ? Tone::Plain : Tone::Warn}});
    const uint64_t failing = number_at(enrolment, "failing");
    table.add({"pods",
               {text_at(enrolment, "enrolled") + " enrolled, " + text_at(enrolment, "waiting") + " waiting, " +
                    text_at(enrolment, "failing") + " failing, " + text_at(enrolment, "refused") + " refused",
                failing != 0 ? Tone::Bad : Tone::Plain}});
    size_t tunnel_pods = 0;
    const Json& tunnels = list_at(at(s, "tunnel"), "connected");
    for (const Json& t : tunnels) tunnel_pods += number_at(t, "pods");
    table.add({"tunnel",
               {std::to_string(tunnels.size()) + " connected, with " + std::to_string(tunnel_pods) + " pods",
                tunnels.empty() ? Tone::Warn : Tone::Plain}});
    const Json& unrepaired = list_at(kernel, "unrepaired");
    size_t attached = 0;
    for (const Json& hook : list_at(kernel, "hooks")) attached += flag_at(hook, "attached") ? 1 : 0;
    std::string hooks = "kernel " + text_at(kernel, "release") + ", " + std::to_string(attached) + (attached == 1 ? " hook" : " hooks") +
                        " attached, redirection " + (flag_at(s, "redirection") ? "on" : "off") + ", same node " + text_at(s, "same_node");
    if (!unrepaired.empty()) hooks += ", broken: " + joined(unrepaired);
    table.add({"kernel", {hooks, unrepaired.empty() ? Tone::Plain : Tone::Bad}});
    network_policy_row(s, table);
    table.add({"flows", text_at(flows, "open") + " open, " + text_at(flows, "closed") + " closed, " +
                            std::to_string(number_at(flows, "kernel_lost") + number_at(flows, "tunnel_lost")) + " lost"});
}

void tunnel_rows(const Json& dump, Table& table) {
    size_t up = 0, connections = 0;
    for (const Json& pod : object_at(dump, "workloadState")) {
        up += text_at(pod, "state") == "Up" ? 1 : 0;
        connections += list_at(at(pod, "connections"), "inbound").size() + list_at(at(pod, "connections"), "outbound").size();
    }
    size_t available = 0;
    for (const Json& c : list_at(dump, "certificates")) available += text_at(c, "state") == "Available" ? 1 : 0;
    const size_t certificates = list_at(dump, "certificates").size();
    table.add({"data plane", std::to_string(up) + " of " + std::to_string(object_at(dump, "workloadState").size()) + " pods up, " +
                                 std::to_string(connections) + " connections"});
    table.add({"certificates",
               {std::to_string(available) + " of " + std::to_string(certificates) + " available",
                available == certificates ? Tone::Plain : Tone::Warn}});
    table.add({"mesh model", std::to_string(list_at(dump, "workloads").size()) + " workloads, " +
                                 std::to_string(list_at(dump, "services").size()) + " services, " +
                                 std::to_string(list_at(dump, "policies").size()) + " policies"});
}

void controller_rows(const Json& s, Table& table) {
    table.add({"controller", ready(s)});
    const Json &mesh = at(s, "mesh"), &source = at(s, "source");
    const uint64_t errors = number_at(mesh, "errorCount") + number_at(source, "errorCount");
    table.add({"",
               {"version " + text_at(s, "version") + ", " + std::to_string(list_at(s, "clients").size()) + " clients, " +
                    text_at(mesh, "workloads") + " workloads, " + std::to_string(errors) + " objects with errors, authority " +
                    text_at(at(s, "authority"), "phase"),
                errors == 0 ? Tone::Plain : Tone::Warn}});
}

void troubled_pods(const Context& context, const Json& status) {
    Table table({"POD", "STATE", "WHY"});
    for (const Json& pod : list_at(status, "pods"))
        if (const std::string why = text_at(pod, "why"); !why.empty())
            table.add({text_at(pod, "namespace") + '/' + text_at(pod, "name"), text_at(pod, "state"), why});
    if (table.size() != 0) context.out << '\n' << table.render(context.colour());
}

base::Result<int> status(const Context& context) {
    Cluster* cluster = TRY(cluster_of(context));
    if (cluster != nullptr && context.globals.on_node.empty()) return status_of_nodes(context, *cluster);
    Table table({"PART", "STATE"});
    Json document = Json::object();
    bool answered = true, in_order = true;
    const auto add = [&](const Daemon& daemon, const base::Result<Json>& reply, auto&& rows) {
        if (!reply) {
            answered = false;
            table.add({daemon.name, {"no answer on " + daemon.address, Tone::Bad}});
            document[daemon.name] = {{"error", reply.error().message()}};
            context.note(reply.error().message());
            return;
        }
        document[daemon.name] = *reply;
        rows(*reply, table);
    };
    const auto agent = agent_status(context);
    add(agent_of(context), agent, agent_rows);
    if (agent) in_order = flag_at(*agent, "ready");
    add(tunnel_of(context), config_dump(context, ""), tunnel_rows);
    if (const Daemon controller = controller_of(context); !controller.address.empty())
        add(controller, ask_json(context, controller, "/status"), controller_rows);
    // The dump as a whole is config-dump's.
    if (Json& tunnel = document["tunnel"]; !tunnel.contains("error")) {
        Json counts = {{"version", at(tunnel, "version")}};
        for (const char* list : {"workloads", "services", "policies", "certificates"}) counts[list] = list_at(tunnel, list).size();
        tunnel = std::move(counts);
    }
    context.print(table, document);
    if (context.for_people() && agent) troubled_pods(context, *agent);
    return !answered ? kFailed : in_order ? kOk : kFindings;
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
    app.add_subcommand("status", "is this node's mesh in order: agent, tunnel, pods, hooks; of a cluster: all its nodes")
        ->callback([&context] { context.run = [&context] { return status(context); }; });
}

}  // namespace warren::tools
