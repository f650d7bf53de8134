// SPDX-License-Identifier: Apache-2.0
// Times of Kubernetes objects: what parses prints in UTC to text that parses to the same instant.
#include "base/bytes.h"
#include "base/clock.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::base;
    const auto parsed = parse_rfc3339(as_text({data, size}));
    if (!parsed) return 0;
    const auto again = parse_rfc3339(to_rfc3339(*parsed, 9));
    if (!again || *again != *parsed) std::abort();
    return 0;
}
