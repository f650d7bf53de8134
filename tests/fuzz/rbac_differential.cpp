// SPDX-License-Identifier: Apache-2.0
// Bytes -> policies and connections -> decide(), explain() and the naive engine must agree (traps 3 and 4).
#include "tests/policy/rbac_case.h"

#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto c = warren::tests::make_rbac_case({data, size});
    if (const std::string difference = warren::tests::compare_engines(c); !difference.empty()) {
        std::fputs(difference.c_str(), stderr);
        std::abort();
    }
    return 0;
}
