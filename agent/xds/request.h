// SPDX-License-Identifier: Apache-2.0
// Reads a DeltaDiscoveryRequest where it lies, as response.h reads responses: a node that comes back lists a hundred thousand names. And
// who a client says it is, checked as the reference checks it (Kubernetes contract 5.1). Pure, any thread; views of the caller's bytes.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::xds {

struct RequestView {
    std::optional<std::span<const uint8_t>> node;
    std::string_view type_url;
    std::vector<std::string_view> subscribe, unsubscribe;
    std::vector<std::pair<std::string_view, std::string_view>> versions;  // initial_resource_versions: name, version
    std::string_view nonce;
    std::optional<std::string_view> error;  // error_detail.message
};

// An error for what protobuf would not read, for a name of more than 4 KiB, and for more names than max_names.
[[nodiscard]] base::Result<RequestView> parse_request(std::span<const uint8_t> bytes, size_t max_names);

struct NodeInfo {
    std::string id;
    std::string role;  // of the id: "ztunnel", "waypoint", ...
    std::string ip;
    std::string workload;  // "pod.namespace"
    std::string domain;
    std::map<std::string, std::string> metadata;  // those that are text
};

// Errors (invalid) as the reference: no id, not four parts, a role it does not know, neither a valid address nor INSTANCE_IPS.
[[nodiscard]] base::Result<NodeInfo> parse_node(std::span<const uint8_t> bytes);

}  // namespace warren::xds
