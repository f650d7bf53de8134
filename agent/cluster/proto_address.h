// SPDX-License-Identifier: Apache-2.0
// Addresses in the wire's form: 4 or 16 bytes in network order.
#pragma once

#include "base/ip.h"
#include "proto/workload.pb.h"

#include <array>
#include <string>

namespace warren::cluster {

[[nodiscard]] inline std::string address_bytes(const base::IpAddr& ip) {
    std::array<uint8_t, 16> bytes{};
    const size_t n = ip.to_bytes(bytes);
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)};
}

inline void set_address(istio::workload::NetworkAddress& to, const std::string& network, const base::IpAddr& ip) {
    to.set_network(network);
    to.set_address(address_bytes(ip));
}

}  // namespace warren::cluster
