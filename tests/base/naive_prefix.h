// SPDX-License-Identifier: Apache-2.0
// The slow and obvious answer to "is this address in this prefix", bit by bit over network-order bytes, that the fast ones are held to.
// Also random addresses that meet each other and the borders of the IPv4-mapped block often enough to be worth testing.
#pragma once

#include "base/ip.h"

#include <array>
#include <random>

namespace warren::tests {

inline bool naive_contains(const base::Cidr& prefix, base::IpAddr address) {
    std::array<uint8_t, 16> a{}, b{};
    if (prefix.first().to_bytes(a) != address.to_bytes(b)) return false;  // the families differ
    for (unsigned i = 0; i < prefix.length(); ++i)
        if (((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
    return true;
}

inline base::IpAddr random_address(std::mt19937_64& random) {
    const uint64_t bits = random() & random() & random();  // few ones, so that prefixes overlap
    switch (random() % 4) {
        case 0: return base::IpAddr::v4(static_cast<uint32_t>(bits));
        case 1: return base::IpAddr::from_number(0, 0xfffe'ffff'fffeu + random() % 4);        // just below 0.0.0.0
        case 2: return base::IpAddr::from_number(0, (uint64_t{1} << 48) - 2 + random() % 4);  // around 255.255.255.255
        default: return base::IpAddr::from_number(random() % 2 == 0 ? 0 : random() & random() & random(), bits);
    }
}

inline base::Cidr random_prefix(std::mt19937_64& random) {
    const base::IpAddr address = random_address(random);
    return base::Cidr::make(address, static_cast<unsigned>(random() % (address.bits() + 1))).value();
}

}  // namespace warren::tests
