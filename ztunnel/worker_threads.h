// SPDX-License-Identifier: Apache-2.0
// How many worker threads: the rules of data-plane contract 10.2 as a pure function of what was said. Any thread.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace warren::ztunnel {

inline constexpr uint32_t kMostWorkers = 1024;

// ZTUNNEL_WORKER_THREADS: a number, 0 for all CPUs, or a percentage of them.
struct WorkerCount {
    uint32_t number = 0;
    bool percent = false;
    static base::Result<WorkerCount> parse(std::string_view text);
};

struct CpuFacts {
    std::optional<WorkerCount> asked{};     // beats everything
    std::optional<uint32_t> concurrency{};  // of the proxy config
    uint32_t cpus = 1;                      // of the machine, or ZTUNNEL_CPU_LIMIT
    std::optional<uint32_t> limit{};        // ZTUNNEL_RESOURCE_CPU_LIMIT, whole CPUs
    std::optional<uint32_t> request{};      // ZTUNNEL_RESOURCE_CPU_REQUEST
};

// From 1 to kMostWorkers.
[[nodiscard]] uint32_t worker_threads(const CpuFacts& facts);

// A Kubernetes quantity of CPUs, rounded up: "2", "1.5", "500m".
[[nodiscard]] base::Result<uint32_t> parse_cpu_quantity(std::string_view text);

}  // namespace warren::ztunnel
