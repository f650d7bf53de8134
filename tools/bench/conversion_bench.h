// SPDX-License-Identifier: Apache-2.0
// `warren-bench conversion`: what a large mesh of Kubernetes objects costs the controller: all of it, one pod, one service, and a batch of
// changes such as a tenth of a second brings at 1,000 a second. Without a network.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::bench {

struct ConversionBenchOptions {
    bool json = false;
    uint32_t pods = 100'000;
    uint32_t services = 10'000;
    uint32_t policies = 2'000;
    uint32_t batch = 100;   // changes at once
    uint32_t rounds = 100;  // of each measurement
};

[[nodiscard]] base::Result<std::string> conversion_bench(const ConversionBenchOptions& options);

}  // namespace warren::bench
