// SPDX-License-Identifier: Apache-2.0
// The names by which the tunnel asks the agent for a resource, beside its own: "network/ip" of workloads and services (data-plane contract
// 3.6), and the group of all services, which Warren's tunnel keeps while it asks for workloads one by one. Pure.
#pragma once

#include "agent/xds/relay.h"

#include <string_view>

namespace warren::node {

inline constexpr std::string_view kServicesGroup = "warren:services";

// A resource that does not read has no other names: it is refused elsewhere.
[[nodiscard]] xds::OtherNames other_names(std::string_view type_url, const xds::Resource& resource);

}  // namespace warren::node
