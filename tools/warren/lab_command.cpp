// SPDX-License-Identifier: Apache-2.0
// `warren lab ...` belongs to a program of its own, warren-lab, beside this one or in PATH: a lab needs root, namespaces and applications,
// which the CLI of a cluster has no business with. Everything behind `lab` is handed on as it is; its commands are declared for completion
// and manual alone.
#include "tools/warren/commands.h"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace warren::tools {
namespace {

constexpr const char* kProgram = "warren-lab";

struct LabCommand {
    const char *name, *what;
};
constexpr LabCommand kCommands[] = {
    {"up", "bring a lab up, and leave it up"},
    {"demo", "bring a lab up, show what a mesh does, take it down"},
    {"down", "take a lab down, also one that is half up"},
    {"status", "what is up, and what the load generator counts; exit code 1 when a daemon is not running"},
    {"exec", "a command in a pod, or in a node's network namespace"},
    {"upgrade", "restart a daemon as an upgrade does, with no connection failing"},
};

base::Result<int> lab(const Context& context, std::vector<std::string> arguments) {
    std::error_code failed;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
    const std::string beside = failed ? "" : (self.parent_path() / kProgram).string();
    std::vector<char*> argv = {const_cast<char*>(kProgram)};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    context.out.flush();
    if (!beside.empty()) ::execv(beside.c_str(), argv.data());
    if (beside.empty() || errno == ENOENT) ::execvp(kProgram, argv.data());
    if (errno == ENOENT)
        return base::Error{base::Errc::NotFound, 0, "",
                           std::string("the lab is not installed: ") + kProgram + " is neither beside this program nor in PATH"};
    return base::os_error("exec", kProgram);
}

// name: of the lab's command, none for what is not one.
void hand_over(CLI::App& command, Context& context, const std::string& name) {
    command.prefix_command();
    command.set_help_flag();  // the lab's own
    command.fallthrough(false);
    command.callback([&context, &command, name] {
        if (!command.get_subcommands().empty()) return;
        context.run = [&context, &command, name] {
            std::vector<std::string> words;
            if (!name.empty()) words.push_back(name);
            if (name == "status" && context.globals.output != "table") words.insert(words.end(), {"-o", context.globals.output});
            for (std::string& word : command.remaining()) words.push_back(std::move(word));
            return lab(context, std::move(words));
        };
    });
}

}  // namespace

void add_lab(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("lab", "a mesh of two nodes on this machine: up, down, exec (see `warren lab --help`)");
    hand_over(*command, context, {});
    for (const LabCommand& one : kCommands) hand_over(*command->add_subcommand(one.name, one.what), context, one.name);
}

}  // namespace warren::tools
