// SPDX-License-Identifier: Apache-2.0
// `warren lab ...` belongs to a program of its own, warren-lab, beside this one or in PATH: a lab needs root, namespaces and applications,
// which the CLI of a cluster has no business with. Everything behind `lab` is handed on as it is.
#include "tools/warren/commands.h"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <ostream>

namespace warren::tools {
namespace {

constexpr const char* kProgram = "warren-lab";

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

}  // namespace

void add_lab(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("lab", "a mesh of two nodes on this machine: up, down, exec (see `warren lab --help`)");
    command->prefix_command();
    command->set_help_flag();  // the lab's own
    command->fallthrough(false);
    command->callback([&context, command] { context.run = [&context, command] { return lab(context, command->remaining()); }; });
}

}  // namespace warren::tools
