// SPDX-License-Identifier: Apache-2.0
// The declared commands and options as plain values, for what is made of them: man page, completions. Pure.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace warren::tools {

struct OptionEntry {
    std::vector<std::string> names;  // "-f", "--file"; of a positional its name alone
    bool positional = false, flag = false, required = false;
    std::string type, description, fallback, variable;
    std::vector<std::string> choices;  // when the value is one of a list
};

struct CommandEntry {
    std::vector<std::string> path;  // without the program: {"policy", "diff"}
    std::string description;
    std::vector<OptionEntry> options;
    std::vector<CommandEntry> commands;
};

[[nodiscard]] CommandEntry option_tree(const CLI::App& root);

}  // namespace warren::tools
