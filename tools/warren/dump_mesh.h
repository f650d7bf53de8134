// SPDX-License-Identifier: Apache-2.0
// A configuration dump as a mesh that can be asked: the same records, read by the reader of mesh files (policy/mesh_yaml.h). What dumps
// have beyond that form is turned: memberships by name become those of the services' endpoints, refused policies refusals. Pure.
#pragma once

#include "base/result.h"
#include "policy/snapshot.h"
#include "tools/warren/json.h"

#include <string>

namespace warren::tools {

[[nodiscard]] base::Result<policy::Batch> batch_of_dump(const Json& dump, const std::string& name, policy::TextPool& pool);

// A JSON object with what only dumps have; a mesh file has workloads, policies and services alone.
[[nodiscard]] bool is_dump(const std::string& text);

// A mesh file, or a dump.
[[nodiscard]] base::Result<policy::Batch> batch_of_text(const std::string& text, const std::string& name, policy::TextPool& pool);

}  // namespace warren::tools
