// SPDX-License-Identifier: Apache-2.0
// What one delta-xDS response says, and what its reader answers. Views into the received message: they end with the call they were given
// to. Bodies are the bytes inside the resource's Any; the type they have is the response's, whatever the Any says (data-plane
// contract 1.4).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::xds {

inline constexpr std::string_view kAddressType = "type.googleapis.com/istio.workload.Address";
inline constexpr std::string_view kAuthorizationType = "type.googleapis.com/istio.security.Authorization";
// Warren's own (proto/trust.proto): asked for only where a setting says so.
inline constexpr std::string_view kRevocationType = "type.googleapis.com/warren.trust.v1.RevocationLists";

struct Resource {
    std::string_view name;
    std::string_view version;  // empty for policies of istiod
    std::span<const uint8_t> body;
};

struct Rejection {
    std::string name;
    std::string reason;
};

struct Update {
    std::string_view type_url;
    std::vector<Resource> resources;        // applied first, in this order
    std::vector<std::string_view> removed;  // then these; a name that nobody has is normal
    std::vector<Rejection> refused;         // resources the client could not read and NACKs: for a handler that denies on doubt
};

}  // namespace warren::xds
