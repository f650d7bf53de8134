// SPDX-License-Identifier: Apache-2.0
// The ProxyConfig of the mesh (data-plane contract 10.1): what the mesh config file (key defaultConfig) and PROXY_CONFIG say, merged field
// by field. Only the fields that mean something here are looked at. Pure; errors name line, path and value.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace warren::ztunnel {

struct ProxyConfig {
    std::optional<std::string> discovery_address;
    std::optional<uint16_t> admin_port;
    std::optional<uint16_t> stats_port;
    std::optional<uint32_t> concurrency;
    std::map<std::string, std::string> metadata;

    // Fields of `over` win; metadata is merged key by key.
    void merge(ProxyConfig over);
};

// name: how errors call the text.
[[nodiscard]] base::Result<ProxyConfig> parse_proxy_config(std::string_view text, std::string_view name);
// The defaultConfig of a whole mesh config; without one nothing is said.
[[nodiscard]] base::Result<ProxyConfig> parse_mesh_config(std::string_view text, std::string_view name);

}  // namespace warren::ztunnel
