// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace warren::tools {

void add_config_dump(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("config-dump", "everything a daemon knows of itself, as JSON or YAML");
    const auto part = std::make_shared<std::string>("tunnel");
    command->add_option("PART", *part, "tunnel, agent or controller")
        ->check(CLI::IsMember({"tunnel", "agent", "controller"}))
        ->capture_default_str();
    command->callback([&context, part] {
        context.run = [&context, part]() -> base::Result<int> {
            if (*part == "tunnel") context.print(TRY(config_dump(context, "")));
            if (*part == "agent") context.print(TRY(agent_status(context)));
            if (*part == "controller") context.print(TRY(ask_json(context, controller_of(context), "/status")));
            return kOk;
        };
    });
}

}  // namespace warren::tools
