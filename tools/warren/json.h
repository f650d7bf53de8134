// SPDX-License-Identifier: Apache-2.0
// JSON as the CLI reads it from daemons and files: foreign, so every look-up has an answer for what is absent or of another type, and
// nothing here throws. Pure; any thread.
#pragma once

#include "base/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace warren::tools {

using Json = nlohmann::ordered_json;

inline constexpr size_t kMaxJsonDepth = 128;  // the library's writer recurses

// name: what errors call it, a file or "the tunnel's answer".
[[nodiscard]] base::Result<Json> parse_json(std::string_view text, const std::string& name);

// The member at the end of the path; a null where there is none.
[[nodiscard]] const Json& at(const Json& j, std::initializer_list<std::string_view> path);
[[nodiscard]] const Json& at(const Json& j, std::string_view key);
// Empty when it is none.
[[nodiscard]] const Json& list_at(const Json& j, std::string_view key);
[[nodiscard]] const Json& object_at(const Json& j, std::string_view key);
// Text as it is, numbers and booleans as JSON writes them, everything else "".
[[nodiscard]] std::string text_of(const Json& j);
[[nodiscard]] std::string text_at(const Json& j, std::string_view key);
[[nodiscard]] uint64_t number_at(const Json& j, std::string_view key);  // 0 when it is none
[[nodiscard]] bool flag_at(const Json& j, std::string_view key);

// Bytes that are no UTF-8 are replaced. indent -1: one line.
[[nodiscard]] std::string to_text(const Json& j, int indent);

}  // namespace warren::tools
