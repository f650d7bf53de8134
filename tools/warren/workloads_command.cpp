// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {

void add_workloads(CLI::App& app, Context& context) {
    const auto node = std::make_shared<std::string>();
    CLI::App* command = add_dump_command(app, context, "workloads", "workloads the tunnel knows",
                                         {"NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"},
                                         [node](const Json& dump, const DumpOptions& options, Table& table) {
                                             Json out = Json::array();
                                             for (const Json& w : in_namespace(list_at(dump, "workloads"), options.ns)) {
                                                 if (!node->empty() && text_at(w, "node") != *node) continue;
                                                 std::string addresses;
                                                 for (const Json& ip : list_at(w, "workloadIps"))
                                                     addresses += (addresses.empty() ? "" : ",") + text_of(ip);
                                                 const bool healthy = text_at(w, "status") != "Unhealthy";
                                                 table.add({text_at(w, "namespace"),
                                                            {text_at(w, "name"), healthy ? Tone::Plain : Tone::Warn},
                                                            addresses,
                                                            text_at(w, "node"),
                                                            waypoint_of(w, dump),
                                                            text_at(w, "protocol")});
                                                 out.push_back(w);
                                             }
                                             table.sort();
                                             return out;
                                         });
    command->add_option("--node", *node, "only those of this node")->type_name("NODE");
}

}  // namespace warren::tools
