// SPDX-License-Identifier: Apache-2.0
// Between the values of base/ip.h and the rows of bpf/abi.h. Pure; any thread.
#pragma once

#include "base/bytes.h"
#include "base/ip.h"
#include "bpf/abi.h"

#include <cstring>
#include <span>
#include <type_traits>

namespace warren::node {

// IPv4 mapped, network order; an IpAddr is kept that way already.
[[nodiscard]] inline wr_addr to_row(base::IpAddr address) {
    wr_addr row{};
    const std::span<uint8_t, 16> bytes(row.b);
    base::store_be<uint64_t>(bytes.first<8>(), address.hi());
    base::store_be<uint64_t>(bytes.last<8>(), address.lo());
    return row;
}

[[nodiscard]] inline base::IpAddr from_row(const wr_addr& row) {
    const std::span<const uint8_t, 16> bytes(row.b);
    return base::IpAddr::from_number(base::load_be<uint64_t>(bytes.first<8>()), base::load_be<uint64_t>(bytes.last<8>()));
}

[[nodiscard]] inline wr_range_key to_row(const base::Cidr& prefix) {
    return {.prefix_bits = prefix.length() + (prefix.is_v4() ? 96u : 0u), .address = to_row(prefix.first())};
}

// Rows have no holes (abi.h), so their bytes are their value.
template <class Row>
[[nodiscard]] bool same_row(const Row& a, const Row& b) {
    static_assert(std::has_unique_object_representations_v<Row>);
    return std::memcmp(&a, &b, sizeof(Row)) == 0;
}

}  // namespace warren::node
