// SPDX-License-Identifier: Apache-2.0
// Fields of an API server's objects, for kube_*.cpp alone. Errors name the field. Pure; any thread.
#pragma once

#include "agent/node/label_selector.h"
#include "base/result.h"

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace warren::node {

using Json = nlohmann::json;

// An object; nothing nested deeper than a reader may go.
base::Result<Json> parse_object(std::string_view text);
// Null where there is none.
[[nodiscard]] const Json& member(const Json& object, const char* key);
// Empty where there is none.
base::Result<std::string> read_text(const Json& object, const char* key);
// 1 to 253 bytes.
base::Result<std::string> read_name(const Json& object, const char* key);
base::Result<Labels> read_strings(const Json& object, const char* key);
// A list, an empty one where there is none.
base::Result<const Json*> read_array(const Json& object, const char* key);

}  // namespace warren::node
