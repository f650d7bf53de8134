// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

namespace warren::base {

Utf8Char decode_utf8(std::string_view bytes) noexcept {
    const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
    const uint8_t first = at(0);
    if (first < 0x80) return {first, 1, true};
    uint8_t length = 0;
    char32_t point = 0;
    char32_t least = 0;  // smaller points have a shorter form
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2, point = first & 0x1fu, least = 0x80;
    } else if ((first & 0xf0) == 0xe0) {
        length = 3, point = first & 0x0fu, least = 0x800;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4, point = first & 0x07u, least = 0x10000;
    } else {
        return {};
    }
    if (bytes.size() < length) return {};
    for (size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xc0) != 0x80) return {};
        point = (point << 6) | (at(i) & 0x3fu);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {};
    return {point, length, true};
}

void append_valid_utf8(std::string& out, std::string_view bytes) {
    while (!bytes.empty()) {
        const Utf8Char c = decode_utf8(bytes);
        if (c.valid)
            out.append(bytes.substr(0, c.length));
        else
            out.append("\xef\xbf\xbd");
        bytes.remove_prefix(c.length);
    }
}

std::string_view utf8_prefix(std::string_view bytes, size_t limit) noexcept {
    if (bytes.size() <= limit) return bytes;
    size_t cut = limit;
    // At most three bytes back: text that is not UTF-8 at all is cut where the limit is.
    while (cut > 0 && limit - cut < 3 && (static_cast<uint8_t>(bytes[cut]) & 0xc0) == 0x80) --cut;
    if ((static_cast<uint8_t>(bytes[cut]) & 0xc0) == 0x80) cut = limit;
    return bytes.substr(0, cut);
}

}  // namespace warren::base
