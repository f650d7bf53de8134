// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_command.h"

#include <CLI/CLI.hpp>

namespace warren::tools {

CLI::App* add_dump_command(CLI::App& app, Context& context, const char* name, const char* what, std::vector<std::string> heads,
                           DumpTable make) {
    CLI::App* command = app.add_subcommand(name, what);
    const auto options = std::make_shared<DumpOptions>();
    command->add_option("-f,--file", options->file, "a dump (`warren config-dump`) instead of the tunnel; - reads standard input")
        ->type_name("FILE");
    command->add_option("-n,--namespace", options->ns, "only this namespace")->type_name("NAMESPACE");
    command->callback([&context, options, heads = std::move(heads), make = std::move(make)] {
        context.run = [&context, options, heads, make]() -> base::Result<int> {
            const Json dump = TRY(config_dump(context, options->file));
            Table table(heads);
            const Json document = make(dump, *options, table);
            context.print(table, document);
            return kOk;
        };
    });
    return command;
}

}  // namespace warren::tools
