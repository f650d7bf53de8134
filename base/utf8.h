// SPDX-License-Identifier: Apache-2.0
// Strict UTF-8 (RFC 3629) over bytes that may be anything: logs and metrics carry names that peers chose. Pure functions, any thread;
// nothing fails, a byte that starts no valid character stands for U+FFFD.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace warren::base {

struct Utf8Char {
    char32_t point = 0xfffd;
    uint8_t length = 1;  // bytes used, 1..4
    bool valid = false;  // false: point is U+FFFD and one byte was used
};

// The first character of bytes, which must not be empty. Overlong forms, surrogates and points above U+10FFFF are invalid.
[[nodiscard]] Utf8Char decode_utf8(std::string_view bytes) noexcept;

// Appends bytes with each invalid byte replaced by U+FFFD.
void append_valid_utf8(std::string& out, std::string_view bytes);

// The longest prefix of at most limit bytes that does not cut a character in two.
[[nodiscard]] std::string_view utf8_prefix(std::string_view bytes, size_t limit) noexcept;

}  // namespace warren::base
