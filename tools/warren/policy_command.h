// SPDX-License-Identifier: Apache-2.0
// `warren policy explain FROM TO PORT`: the verdict on a connection, which rule of which policy decided, and why each other one did not.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::tools {

struct ExplainOptions {
    std::string mesh_file;
    std::string from;  // workload, or with plaintext an address
    std::string to;
    uint16_t port = 0;
    bool plaintext = false;  // without mutual TLS: no identity
    bool json = false;
};

struct ExplainResult {
    std::string text;
    bool allowed = false;
};
[[nodiscard]] base::Result<ExplainResult> policy_explain(const ExplainOptions& options);

}  // namespace warren::tools
