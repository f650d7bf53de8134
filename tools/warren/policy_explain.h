// SPDX-License-Identifier: Apache-2.0
// `warren policy explain FROM TO PORT`: the verdict on a connection, which rule of which policy decided, and why each other one did not.
#pragma once

#include "base/result.h"
#include "policy/snapshot.h"

#include <cstdint>
#include <string>

namespace warren::tools {

struct ExplainOptions {
    std::string mesh_file;  // "": the tunnel's mesh
    std::string from;       // workload, or with plaintext an address
    std::string to;
    uint16_t port = 0;
    bool plaintext = false;  // without mutual TLS: no identity
    bool json = false;
};

struct ExplainResult {
    std::string text;
    bool allowed = false;
};
[[nodiscard]] base::Result<ExplainResult> policy_explain(const ExplainOptions& options, const policy::Snapshot& mesh);
[[nodiscard]] base::Result<ExplainResult> policy_explain(const ExplainOptions& options);  // of the mesh file

}  // namespace warren::tools
