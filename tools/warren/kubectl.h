// SPDX-License-Identifier: Apache-2.0
// kubectl and helm, called with what --kubeconfig and --context say. They and not a client of ours: whatever credentials a user's
// kubeconfig names (plugins of cloud providers too), they know. Blocking; any thread.
#pragma once

#include "tools/warren/context.h"

#include <string>
#include <vector>

namespace warren::tools {

[[nodiscard]] std::vector<std::string> kubectl(const Context& context, std::vector<std::string> words);
[[nodiscard]] std::vector<std::string> helm(const Context& context, std::vector<std::string> words);

// Its output, within --timeout. Errors are what it said, or that it is not installed.
[[nodiscard]] base::Result<std::string> output_of(const Context& context, const std::vector<std::string>& command);
// GET of an API path.
[[nodiscard]] base::Result<Json> kube_get(const Context& context, const std::string& path);

}  // namespace warren::tools
