// SPDX-License-Identifier: Apache-2.0
// The message of CreateCertificate with its metadata: any bytes are an error, or fields within their limits.
#include "agent/cluster/ca_service.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto parsed = warren::cluster::parse_request({reinterpret_cast<const char*>(data), size});
    if (parsed && parsed->impersonated.size() > 2048) std::abort();
    return 0;
}
