// SPDX-License-Identifier: Apache-2.0
// Reads a DeltaDiscoveryResponse where it lies (data-plane contract 1.4). Not with the generated message: that one copies every body, needs
// some fifty bytes for a resource of two, and gives up the whole message for one resource that is cut short or whose name is not UTF-8.
// Here a bad resource is refused alone, and everything else is a view of the caller's bytes. Agrees with protobuf on what protobuf reads,
// but for groups (deprecated, in no schema of ours), which are refused. Pure, any thread.
#pragma once

#include "agent/xds/update.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace warren::xds {

// The names of one response, delivered and removed: ten times the meshes known, and a bound on what a small message can make us allocate.
inline constexpr size_t kMaxNames = 2'000'000;

struct Response {
    std::string_view type_url;
    std::string_view nonce;
    std::vector<Resource> resources;        // with a name and a body
    std::vector<Rejection> refused;         // could not be read; an empty name where that is what was wrong
    std::vector<std::string_view> removed;  // names of removed_resources; those that are not UTF-8 are in refused
};

// An error when the message itself is damaged: nothing of it counts then.
[[nodiscard]] base::Result<Response> parse_response(std::span<const uint8_t> bytes, size_t max_names = kMaxNames);

}  // namespace warren::xds
