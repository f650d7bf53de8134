// SPDX-License-Identifier: Apache-2.0
// JSON of others, parsed within bounds: no exceptions, and no text nested deeper than kMaxDepth (the library's writer and destructor
// recurse). Any thread. Internal to agent/cni.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace warren::cni {

using Json = nlohmann::ordered_json;  // what is passed on keeps its order

inline constexpr int kMaxDepth = 64;

inline base::Result<Json> parse_json(std::string_view text, std::string_view name) {
    bool too_deep = false;
    const auto watch = [&too_deep](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;  // what lies deeper is dropped, so nothing deep is ever built
    };
    Json parsed = Json::parse(text, watch, false);
    if (too_deep) return base::invalid(std::string(name) + " nests deeper than " + std::to_string(kMaxDepth) + " levels");
    if (parsed.is_discarded()) return base::invalid(std::string(name) + " is not JSON");
    if (!parsed.is_object()) return base::invalid(std::string(name) + " is not a JSON object");
    return parsed;
}

// Text of a member that must be text; absent is empty.
inline base::Result<std::string> text_member(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return std::string();
    if (!found->is_string()) return base::invalid(std::string(key) + " is not a string");
    return found->get<std::string>();
}

// Writes what came from others: bytes that are not UTF-8 are replaced instead of thrown about.
inline std::string write_json(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace warren::cni
