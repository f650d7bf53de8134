// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/yaml_text.h"

#include <algorithm>

namespace warren::tools {
namespace {

// Letters first, then letters, digits and what paths and names have; nothing else is written without quotes.
bool is_plain(const std::string& text) {
    if (text.empty() || text.size() > 200) return false;
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    if (!letter(text[0]) && text[0] != '/') return false;
    if (!std::all_of(text.begin(), text.end(), [&](char c) {
            return letter(c) || (c >= '0' && c <= '9') || (c != 0 && std::string_view("-_./").find(c) != std::string_view::npos);
        }))
        return false;
    std::string lower = text;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    for (const char* word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
        if (lower == word) return false;
    return true;
}

std::string scalar(const Json& j) {
    if (j.is_string() && is_plain(j.get_ref<const std::string&>())) return j.get<std::string>();
    return to_text(j, -1);  // JSON's quoting is YAML's
}

void write(std::string& out, const Json& j, size_t indent, bool after_dash) {
    const std::string pad(indent, ' ');
    bool first = after_dash;
    if (j.is_object() && !j.empty()) {
        for (const auto& [key, value] : j.items()) {
            out += first ? "" : pad;
            first = false;
            out += scalar(Json(key)) + ':';
            if (value.is_structured() && !value.empty()) {
                out += '\n';
                write(out, value, value.is_array() ? indent : indent + 2, false);
            } else {
                out += ' ' + scalar(value) + '\n';
            }
        }
    } else if (j.is_array() && !j.empty()) {
        for (const Json& value : j) {
            out += first ? "" : pad;
            first = false;
            out += "- ";
            write(out, value, indent + 2, true);
        }
    } else {
        out += (first ? "" : pad) + scalar(j) + '\n';
    }
}

}  // namespace

std::string to_yaml(const Json& j) {
    std::string out;
    write(out, j, 0, false);
    return out;
}

}  // namespace warren::tools
