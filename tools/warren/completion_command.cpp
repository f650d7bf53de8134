// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/completion.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <ostream>

namespace warren::tools {

void add_completion(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("completion", "a script that completes commands and options in a shell");
    const auto shell = std::make_shared<std::string>();
    command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    command->callback([&context, shell] {
        context.run = [&context, shell]() -> base::Result<int> {
            const CommandEntry tree = option_tree(*context.root);
            context.out << (*shell == "bash" ? bash_completion(tree) : *shell == "zsh" ? zsh_completion(tree) : fish_completion(tree));
            return kOk;
        };
    });
}

}  // namespace warren::tools
