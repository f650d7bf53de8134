// SPDX-License-Identifier: Apache-2.0
// `warren-bench ca`: what a certificate costs. Signing alone on one thread, with EC and RSA issuers; then the whole service over gRPC and
// TLS on this machine, asked at a steady rate: parsing, authentication, authorization, audit line and all.
#pragma once

#include "base/result.h"

#include <string>

namespace warren::bench {

struct CaBenchOptions {
    bool json = false;
    unsigned certificates = 2'000;  // signed by each issuer
    unsigned rate = 200;            // requests a second over gRPC
    unsigned seconds = 5;
};

[[nodiscard]] base::Result<std::string> ca_bench(const CaBenchOptions& options);

}  // namespace warren::bench
