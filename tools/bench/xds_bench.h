// SPDX-License-Identifier: Apache-2.0
// `warren-bench xds`: what it costs to bring a large mesh to nodes and to keep it current there. The nodes are clients in a process of
// their own, over TLS on loopback; the certificate is made with the openssl program.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace warren::bench {

struct XdsBenchOptions {
    bool json = false;
    uint32_t nodes = 50;
    uint32_t changes_per_second = 1'000;
    uint32_t seconds = 10;
};

// Forks: before the process has threads.
[[nodiscard]] base::Result<std::string> xds_bench(const XdsBenchOptions& options);

}  // namespace warren::bench
