// SPDX-License-Identifier: Apache-2.0
// warren: the command line. Exit codes are those of tools/warren/context.h.
#include "tools/warren/cli.h"

#include <unistd.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
    std::ios::sync_with_stdio(false);
    warren::tools::Context context(std::cout, std::cerr);
    context.terminal = ::isatty(STDOUT_FILENO) == 1;
    const char* no_color = std::getenv("NO_COLOR");
    context.no_color = no_color != nullptr && *no_color != '\0';
    const int code = warren::tools::run_cli({argv + (argc > 0 ? 1 : 0), argv + argc}, context);
    std::cout.flush();
    return std::cout ? code : static_cast<int>(warren::tools::kFailed);
}
