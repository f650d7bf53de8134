// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/redact.h"

#include <algorithm>
#include <array>

namespace warren::tools {
namespace {

constexpr const char* kHidden = "[redacted]";

bool is_token(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '+' ||
           c == '/' || c == '=';
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool secret_name(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), lower);
    for (const char* word :
         {"password", "passwd", "secret", "token", "authorization", "apikey", "api_key", "private_key", "privatekey", "credential"})
        if (name.find(word) != std::string::npos) return true;
    return false;
}

size_t token_end(const std::string& text, size_t at) {
    while (at < text.size() && is_token(text[at])) ++at;
    return at;
}

// -----BEGIN ... PRIVATE KEY----- to its end, or to the end of the text when it is cut.
void hide_keys(std::string& text) {
    for (size_t at = 0; (at = text.find("-----BEGIN ", at)) != std::string::npos;) {
        const size_t head = text.find("-----", at + 11);
        if (head == std::string::npos || text.substr(at, head - at).find("PRIVATE KEY") == std::string::npos) {
            at += 11;
            continue;
        }
        size_t end = text.find("-----END ", head);
        end = end == std::string::npos ? std::string::npos : text.find("-----", end + 9);
        text.replace(at, end == std::string::npos ? std::string::npos : end + 5 - at, kHidden);
    }
}

// "-----BEGIN PRIVATE", "-----BEGIN EC PRIV", "-----BEGIN RSA PR" in base64; and tokens of three parts, the first a JSON object.
void hide_tokens(std::string& text) {
    constexpr std::array kKeys = {"LS0tLS1CRUdJTiBQUklWQVRF", "LS0tLS1CRUdJTiBFQyBQUklW", "LS0tLS1CRUdJTiBSU0EgUF",
                                  "LS0tLS1CRUdJTiBFTkNSWVBURUQ"};
    for (size_t at = 0; at < text.size();) {
        if (!is_token(text[at])) {
            ++at;
            continue;
        }
        const size_t end = token_end(text, at);
        const std::string_view run(text.data() + at, end - at);
        const size_t jwt = run.find("eyJ");
        const bool web =
            jwt != std::string_view::npos && std::count(run.begin() + static_cast<long>(jwt), run.end(), '.') >= 2 && run.size() - jwt > 30;
        const bool key = std::any_of(kKeys.begin(), kKeys.end(), [&](const char* k) { return run.find(k) != std::string_view::npos; });
        if (web || key) {
            text.replace(at, end - at, kHidden);
            at += std::string_view(kHidden).size();
        } else {
            at = end;
        }
    }
}

// "Bearer abc", and name=value or name: value with a name that says it.
void hide_values(std::string& text) {
    for (const char* scheme : {"Bearer ", "bearer ", "Basic "})
        for (size_t at = 0; (at = text.find(scheme, at)) != std::string::npos;) {
            at += std::string_view(scheme).size();
            const size_t end = token_end(text, at);
            if (end - at >= 8) text.replace(at, end - at, kHidden);
        }
    for (size_t at = 0; (at = text.find_first_of("=:", at)) != std::string::npos; ++at) {
        size_t begin = at;
        if (begin > 0 && text[begin - 1] == '"') --begin;
        const size_t name_end = begin;
        while (begin > 0 && is_token(text[begin - 1]) && text[begin - 1] != '=') --begin;
        if (begin == name_end || !secret_name(text.substr(begin, name_end - begin))) continue;
        size_t value = at + 1;
        while (value < text.size() && (text[value] == ' ' || text[value] == '"' || text[value] == '\'')) ++value;
        if (value < text.size() && text[value] == '[') continue;  // hidden already, or a list
        const size_t end = text.find_first_of(" \t\r\n\"',}", value);
        const size_t size = (end == std::string::npos ? text.size() : end) - value;
        if (size != 0) text.replace(value, size, kHidden);
    }
}

}  // namespace

std::string redact_text(const std::string& text) {
    std::string out = text;
    hide_keys(out);
    hide_tokens(out);
    hide_values(out);
    return out;
}

Json redact_json(const Json& j) {
    if (j.is_object()) {
        Json out = Json::object();
        for (const auto& [key, value] : j.items()) out[key] = secret_name(key) && value.is_string() ? Json(kHidden) : redact_json(value);
        return out;
    }
    if (j.is_array()) {
        Json out = Json::array();
        for (const Json& value : j) out.push_back(redact_json(value));
        return out;
    }
    return j.is_string() ? Json(redact_text(j.get<std::string>())) : j;
}

}  // namespace warren::tools
