// SPDX-License-Identifier: Apache-2.0
// Between the values of base/ip.h and the rows of bpf/abi.h. Pure.
#pragma once

#include "base/bytes.h"
#include "base/ip.h"
#include "bpf/abi.h"

#include <cstring>
#include <span>

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

}  // namespace warren::node
