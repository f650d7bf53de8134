// SPDX-License-Identifier: Apache-2.0
// `warren-bench verdicts`: what the same-node verdicts of a full node cost to compute, and one change of a policy to bring to a map.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::bench {

struct VerdictBenchOptions {
    bool json = false;
    uint32_t pods = 100;
    uint32_t ports = 10;  // that policies name
    uint32_t policies = 1'000;
    uint32_t rounds = 15;  // of computing everything; twice as many single changes of each kind
};

// The report, as JSON or for people.
[[nodiscard]] base::Result<std::string> verdict_bench(const VerdictBenchOptions& options);

}  // namespace warren::bench
