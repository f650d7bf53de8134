// SPDX-License-Identifier: Apache-2.0
// `warren-bench serve`: the other end of `warren-bench load`. One loop per thread; all of them accept from the same listeners, each
// connection stays with the thread that accepted it. Runs until a signal ends the process.
#pragma once

#include "base/ip.h"
#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::bench {

struct ServeOptions {
    std::string listen = "[::]:7000";
    uint32_t ports = 1;  // consecutive ones from there, for more connections than one port of a client's address allows
    uint32_t threads = 2;
};

// Returns only when it could not begin or go on.
[[nodiscard]] base::Result<std::string> serve_load(const ServeOptions& options);

}  // namespace warren::bench
