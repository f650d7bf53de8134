// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/man_page.h"

#include <CLI/CLI.hpp>

#include <ostream>

namespace warren::tools {

void add_man(CLI::App& app, Context& context) {
    app.add_subcommand("man", "the manual page, in the form of man(7)")->callback([&context] {
        context.run = [&context]() -> base::Result<int> {
            context.out << man_page(option_tree(*context.root), WARREN_VERSION);
            return kOk;
        };
    });
}

}  // namespace warren::tools
