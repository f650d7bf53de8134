// SPDX-License-Identifier: Apache-2.0
// Random authorization cases out of bytes: the same generator serves the fuzz target, the property test and the long run, so an input
// that libFuzzer finds is also a test. The worlds are small (few names, addresses and ports), so rules hit often; some lists are long
// enough to be indexed, a few have a thousand entries. When the bytes end everything generated is empty.
#pragma once

#include "policy/evaluate.h"
#include "tests/policy/naive_rbac.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace warren::tests {

struct RbacCase {
    std::vector<NaivePolicy> policies;
    std::vector<policy::Text> missing;
    std::vector<NaiveConnection> connections;
};

[[nodiscard]] RbacCase make_rbac_case(std::span<const uint8_t> bytes);

// A case of `size` random bytes.
[[nodiscard]] std::vector<uint8_t> random_bytes(uint64_t seed, size_t size);

// Judges every connection by both engines and by explain(). Empty: all agree; else what differs, with the explanation.
[[nodiscard]] std::string compare_engines(const RbacCase& c);

}  // namespace warren::tests
