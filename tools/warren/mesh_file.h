// SPDX-License-Identifier: Apache-2.0
// What the CLI's commands share: a mesh read from a file, and the workloads people name on the command line.
#pragma once

#include "base/result.h"
#include "policy/snapshot.h"

#include <memory>
#include <string>

namespace warren::tools {

// "-" reads standard input.
[[nodiscard]] base::Result<std::string> read_text_file(const std::string& path);
// A mesh file, or a configuration dump.
[[nodiscard]] base::Result<std::shared_ptr<const policy::Snapshot>> load_mesh_file(const std::string& path);

// By uid, by "namespace/name", or by address. An error lists what comes near.
[[nodiscard]] base::Result<policy::WorkloadRef> find_workload(const policy::Snapshot& mesh, const std::string& named);

}  // namespace warren::tools
