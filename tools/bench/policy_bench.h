// SPDX-License-Identifier: Apache-2.0
// `warren-bench policy`: what a decision costs, and what a large mesh costs to load, to hold and to change.
#pragma once

#include "base/result.h"

#include <string>

namespace warren::bench {

struct PolicyBenchOptions {
    bool json = false;
    uint32_t decisions = 200'000;  // of each kind
    uint32_t changes = 2'000;
};

// The report, as JSON or for people.
[[nodiscard]] base::Result<std::string> policy_bench(const PolicyBenchOptions& options);

}  // namespace warren::bench
