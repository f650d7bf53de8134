// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_json.h"

#include "agent/kube/json_text.h"

namespace warren::node {

namespace {

constexpr size_t kMaxName = 253;

}  // namespace

base::Result<Json> parse_object(std::string_view text) {
    TRY(kube::check_depth(text));
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return base::invalid("not a JSON object");
    return json;
}

const Json& member(const Json& object, const char* key) {
    static const Json kNone;
    if (!object.is_object()) return kNone;
    const auto found = object.find(key);
    return found == object.end() ? kNone : *found;
}

base::Result<std::string> read_text(const Json& object, const char* key) {
    const Json& value = member(object, key);
    if (value.is_null()) return std::string();
    if (!value.is_string()) return base::invalid(std::string(key) + " is not a string");
    return value.get<std::string>();
}

base::Result<std::string> read_name(const Json& object, const char* key) {
    std::string value = TRY(read_text(object, key));
    if (value.empty() || value.size() > kMaxName) return base::invalid(std::string(key) + " does not have 1 to 253 bytes");
    return value;
}

base::Result<Labels> read_strings(const Json& object, const char* key) {
    const Json& map = member(object, key);
    Labels out;
    if (map.is_null()) return out;
    if (!map.is_object()) return base::invalid(std::string(key) + " is not a map");
    for (const auto& [k, v] : map.items()) {
        if (!v.is_string()) return base::invalid(std::string(key) + " has a value that is not a string");
        out.emplace(k, v.get<std::string>());
    }
    return out;
}

base::Result<const Json*> read_array(const Json& object, const char* key) {
    static const Json kEmpty = Json::array();
    const Json& value = member(object, key);
    if (value.is_null()) return &kEmpty;
    if (!value.is_array()) return base::invalid(std::string(key) + " is not a list");
    return &value;
}

}  // namespace warren::node
