// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/json.h"

namespace warren::tools {
namespace {

const Json kNull = nullptr;
const Json kNoList = Json::array();
const Json kNoObject = Json::object();

// The deepest nesting of brackets outside of texts.
size_t depth_of(std::string_view text) {
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            most = std::max(most, ++depth);
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return most;
}

}  // namespace

base::Result<Json> parse_json(std::string_view text, const std::string& name) {
    if (depth_of(text) > kMaxJsonDepth) return base::invalid(name + " is nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    Json parsed = Json::parse(text, nullptr, false);
    if (parsed.is_discarded()) return base::invalid(name + " is no JSON");
    return parsed;
}

const Json& at(const Json& j, std::string_view key) {
    if (!j.is_object()) return kNull;
    const auto found = j.find(std::string(key));
    return found == j.end() ? kNull : *found;
}

const Json& at(const Json& j, std::initializer_list<std::string_view> path) {
    const Json* here = &j;
    for (const std::string_view key : path) here = &at(*here, key);
    return *here;
}

const Json& list_at(const Json& j, std::string_view key) {
    const Json& found = at(j, key);
    return found.is_array() ? found : kNoList;
}

const Json& object_at(const Json& j, std::string_view key) {
    const Json& found = at(j, key);
    return found.is_object() ? found : kNoObject;
}

std::string text_of(const Json& j) {
    if (j.is_string()) return j.get<std::string>();
    if (j.is_number() || j.is_boolean()) return j.dump();
    return {};
}

std::string text_at(const Json& j, std::string_view key) { return text_of(at(j, key)); }

uint64_t number_at(const Json& j, std::string_view key) {
    const Json& found = at(j, key);
    if (found.is_number_unsigned()) return found.get<uint64_t>();
    if (found.is_number_integer() && found.get<int64_t>() > 0) return static_cast<uint64_t>(found.get<int64_t>());
    return 0;
}

bool flag_at(const Json& j, std::string_view key) {
    const Json& found = at(j, key);
    return found.is_boolean() && found.get<bool>();
}

std::string to_text(const Json& j, int indent) { return j.dump(indent, ' ', false, Json::error_handler_t::replace); }

}  // namespace warren::tools
