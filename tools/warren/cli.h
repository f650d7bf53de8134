// SPDX-License-Identifier: Apache-2.0
// The whole command line as a function: parse, go where --netns says, run the command, print its error. main's thread; starts no other
// before the namespace is entered.
#pragma once

#include "tools/warren/context.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::tools {

// Every command and option, with nothing parsed yet.
[[nodiscard]] std::unique_ptr<CLI::App, void (*)(CLI::App*)> make_app(Context& context);

// arguments without the program's name. The exit code (context.h).
[[nodiscard]] int run_cli(std::vector<std::string> arguments, Context& context);

}  // namespace warren::tools
