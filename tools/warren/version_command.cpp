// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace warren::tools {
namespace {

base::Result<int> version(const Context& context, bool client_only) {
    Table table({"PROGRAM", "VERSION"});
    Json document = {{"warren", WARREN_VERSION}};
    table.add({"warren", WARREN_VERSION});
    const auto add = [&](const Daemon& daemon, const base::Result<std::string>& found) {
        table.add({daemon.program, found ? Cell(*found) : Cell("no answer on " + daemon.address, Tone::Dim)});
        document[daemon.program] = found ? Json(*found) : Json();
    };
    const auto of_status = [&](const Daemon& daemon) -> base::Result<std::string> {
        return text_at(TRY(ask_json(context, daemon, "/status")), "version");
    };
    const auto of_dump = [&]() -> base::Result<std::string> { return text_at(at(TRY(config_dump(context, "")), "version"), "version"); };
    if (!client_only) {
        add(agent_of(context), of_status(agent_of(context)));
        add(tunnel_of(context), of_dump());
        if (!controller_of(context).address.empty()) add(controller_of(context), of_status(controller_of(context)));
    }
    context.print(table, document);
    return kOk;
}

}  // namespace

void add_version(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("version", "the versions of this program and of the daemons that answer");
    const auto client_only = std::make_shared<bool>(false);
    command->add_flag("--client", *client_only, "ask no daemon");
    command->callback([&context, client_only] { context.run = [&context, client_only] { return version(context, *client_only); }; });
}

}  // namespace warren::tools
