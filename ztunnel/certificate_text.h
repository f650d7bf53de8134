// SPDX-License-Identifier: Apache-2.0
// Certificates of the tunnel as PEM, DER and words. Private to the TLS files of this folder, as base/openssl_ptr.h is.
#pragma once

#include "base/openssl_ptr.h"
#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

using namespace base::openssl;

struct PemBlock {
    std::string label;  // "CERTIFICATE"
    std::string der;
};
// Every well-formed PEM block in order; text between blocks is no error. `damaged` counts blocks that began and did not decode.
[[nodiscard]] std::vector<PemBlock> read_pem(std::string_view text, size_t& damaged);

// DER of exactly one certificate: trailing bytes are refused.
[[nodiscard]] base::Result<X509Ptr> parse_certificate(std::string_view der);
[[nodiscard]] std::string to_der(X509* certificate);

// For people: its URI SANs, or its subject when it has none.
[[nodiscard]] std::string describe(X509* certificate);

}  // namespace warren::ztunnel
