// SPDX-License-Identifier: Apache-2.0
// `warren-bench relay`: one hop of the reference, the cheapest encrypted relay that plain OpenSSL allows: one thread, one TLS connection
// per stream, no HTTP/2, no policy, no identity. Two of them in a row (plain to TLS, TLS to plain) are what a tunnel is compared with. Runs
// until a signal ends the process.
#pragma once

#include "base/result.h"

#include <string>

namespace warren::bench {

struct RelayOptions {
    std::string listen;  // ADDRESS:PORT
    std::string to;
    bool tls_in = false, tls_out = false;
};

// Returns only when it could not begin or go on.
[[nodiscard]] base::Result<std::string> run_relay(const RelayOptions& options);

}  // namespace warren::bench
