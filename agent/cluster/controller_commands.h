// SPDX-License-Identifier: Apache-2.0
// What people ask of warren-controller beside serving: check a folder, tokens, rotation of the root. They work on the state folder, beside
// a controller that runs on it, which takes the changes over by itself. Blocking; main's thread.
#pragma once

#include "agent/cluster/controller_settings.h"
#include "base/result.h"

#include <string>
#include <vector>

namespace warren::cluster {

struct CommandResult {
    int exit_code = 0;
    std::string out, err;
};

// Reads a folder as the controller would and prints what is wrong. Exit code 1 when it would be refused or made stricter.
[[nodiscard]] CommandResult check_command(const std::string& folder, const Settings& settings);
// words: create NAME --node PATTERN [--expires 24h] [--uses 1] | list | revoke NAME
[[nodiscard]] base::Result<CommandResult> token_command(const std::vector<std::string>& words, const ControllerSettings& settings);
// words: status | rotate | hasten | print
[[nodiscard]] base::Result<CommandResult> root_command(const std::vector<std::string>& words, const ControllerSettings& settings);

}  // namespace warren::cluster
