// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol v2 header that a sandwiched waypoint expects (data-plane contract 4.11; "The PROXY protocol", section 2.2):
// command PROXY, STREAM, source and destination, and TLV 0xD0 with the source's SPIFFE URI. Pure.
#pragma once

#include "base/ip.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

// identity_uri empty: no TLV. Addresses of different families make an unspecified address block.
[[nodiscard]] std::vector<uint8_t> proxy_header_v2(const base::SockAddr& source, const base::SockAddr& destination,
                                                   std::string_view identity_uri);

}  // namespace warren::ztunnel
