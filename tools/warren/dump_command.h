// SPDX-License-Identifier: Apache-2.0
// What the commands over a configuration dump have in common: the file to read instead of the tunnel, and the namespace asked for.
#pragma once

#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"
#include "tools/warren/dump_names.h"

#include <functional>
#include <memory>
#include <string>

namespace warren::tools {

struct DumpOptions {
    std::string file;
    std::string ns;
};

// Prints what make() puts into the table and returns for machines.
using DumpTable = std::function<Json(const Json& dump, const DumpOptions& options, Table& table)>;

// Declares NAME with -f,--file and -n,--namespace; the options live as long as the app.
CLI::App* add_dump_command(CLI::App& app, Context& context, const char* name, const char* what, std::vector<std::string> heads,
                           DumpTable make);

}  // namespace warren::tools
