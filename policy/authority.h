// SPDX-License-Identifier: Apache-2.0
// The :authority of a CONNECT request (data-plane contract 4.3): an address with a port, or a hostname with a port. Foreign bytes in, a
// value or an error out; pure, any thread.
#pragma once

#include "base/ip.h"
#include "base/result.h"

#include <string>
#include <string_view>

namespace warren::policy {

struct Authority {
    std::string hostname;  // as it was sent; empty: the address form
    base::IpAddr ip;       // the address form only
    uint16_t port = 0;     // 0 is one on which nobody listens
    [[nodiscard]] bool is_address() const { return hostname.empty(); }
    [[nodiscard]] std::string to_string() const;
    bool operator==(const Authority&) const = default;
};

// "10.0.0.1:80", "[fd00::1]:80", "web.prod.svc.cluster.local:80", "*.example.com:443". An error means status 400.
[[nodiscard]] base::Result<Authority> parse_authority(std::string_view text);

}  // namespace warren::policy
