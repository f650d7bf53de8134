// SPDX-License-Identifier: Apache-2.0
// YAML of Kubernetes objects as the JSON that an API server takes. Pure.
#pragma once

#include "agent/kube/resource.h"

#include <nlohmann/json.hpp>

#include <string_view>
#include <vector>

namespace warren::tests {

std::vector<nlohmann::json> objects_of(std::string_view yaml);
kube::Resource resource_of(const nlohmann::json& object);
std::vector<kube::Resource> custom_kinds();

}  // namespace warren::tests
