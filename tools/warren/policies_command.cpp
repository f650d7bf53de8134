// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {

void add_policies(CLI::App& app, Context& context) {
    add_dump_command(app, context, "policies", "authorization policies the tunnel knows",
                     {"NAMESPACE", "POLICY NAME", "ACTION", "SCOPE", "RULES", "STATE"},
                     [](const Json& dump, const DumpOptions& options, Table& table) {
                         const Json out = in_namespace(list_at(dump, "policies"), options.ns);
                         for (const Json& p : out) {
                             const bool refused = !text_at(p, "refusedBecause").empty(), dry = flag_at(p, "dryRun");
                             table.add({text_at(p, "namespace"), text_at(p, "name"), text_at(p, "action"), text_at(p, "scope"),
                                        std::to_string(list_at(p, "rules").size()),
                                        refused ? Cell("refused: " + text_at(p, "refusedBecause"), Tone::Bad)
                                        : dry   ? Cell("dry run", Tone::Warn)
                                                : Cell("enforced")});
                         }
                         table.sort();
                         return out;
                     });
}

}  // namespace warren::tools
