// SPDX-License-Identifier: Apache-2.0
// Conditions as JSON. Internal to the writers of a status, which catch what it throws.
#pragma once

#include "agent/kube/condition.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace warren::kube {

// The list there; an empty one where there is something else.
[[nodiscard]] nlohmann::json array_at(const nlohmann::json& object, const char* key);
// The element of a list whose field is this name.
[[nodiscard]] nlohmann::json::const_iterator find_named(const nlohmann::json& list, const char* field, const std::string& name);
// before: the condition of that type there is, or null; its time stays when its status does.
[[nodiscard]] nlohmann::json condition_json(const Condition& condition, const nlohmann::json& before, int64_t generation,
                                            std::string_view now);

}  // namespace warren::kube
