// SPDX-License-Identifier: Apache-2.0
// Between our values and the rows of bpf/abi.h. Pure; any thread.
#pragma once

#include "base/ip.h"
#include "bpf/abi.h"

#include <cstring>
#include <type_traits>

namespace warren::node {

// An IPv4 address is mapped in both.
[[nodiscard]] inline wr_addr abi_addr(base::IpAddr ip) {
    wr_addr out;
    for (unsigned i = 0; i < 8; ++i) {
        out.b[i] = static_cast<uint8_t>(ip.hi() >> (56 - 8 * i));
        out.b[8 + i] = static_cast<uint8_t>(ip.lo() >> (56 - 8 * i));
    }
    return out;
}

[[nodiscard]] inline wr_range_key abi_range(const base::Cidr& prefix) {
    return {prefix.length() + (prefix.is_v4() ? 96u : 0u), abi_addr(prefix.first())};
}

// Rows have no holes (abi.h), so their bytes are their value.
template <class Row>
[[nodiscard]] bool same_row(const Row& a, const Row& b) {
    static_assert(std::has_unique_object_representations_v<Row>);
    return std::memcmp(&a, &b, sizeof(Row)) == 0;
}

}  // namespace warren::node
