// SPDX-License-Identifier: Apache-2.0
// The :authority of a CONNECT: whatever parses prints to something that parses to the same.
#include "policy/authority.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto first = warren::policy::parse_authority(text);
    if (!first) {
        if (first.error().detail.size() > 400) std::abort();
        return 0;
    }
    if (first->hostname.size() > 253) std::abort();
    const auto again = warren::policy::parse_authority(first->to_string());
    if (!again || !(*again == *first)) std::abort();
    return 0;
}
