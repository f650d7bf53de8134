// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include "tests/catch.h"

#include <string>

using namespace warren::base;

TEST_CASE("utf8: the first and last point of each length, and their invalid neighbours") {
    struct Case {
        std::string_view bytes;
        char32_t point;  // 0xfffd: invalid
    };
    const auto c = GENERATE(values<Case>({
        {std::string_view("\0", 1), 0},
        {"\x7f", 0x7f},
        {"\xc2\x80", 0x80},
        {"\xdf\xbf", 0x7ff},
        {"\xe0\xa0\x80", 0x800},
        {"\xed\x9f\xbf", 0xd7ff},
        {"\xee\x80\x80", 0xe000},
        {"\xef\xbf\xbf", 0xffff},
        {"\xf0\x90\x80\x80", 0x10000},
        {"\xf4\x8f\xbf\xbf", 0x10ffff},
        {"\x80", 0xfffd},
        {"\xc0\x80", 0xfffd},
        {"\xc1\xbf", 0xfffd},
        {"\xe0\x9f\xbf", 0xfffd},
        {"\xed\xa0\x80", 0xfffd},
        {"\xed\xbf\xbf", 0xfffd},
        {"\xf0\x8f\xbf\xbf", 0xfffd},
        {"\xf4\x90\x80\x80", 0xfffd},
        {"\xf5\x80\x80\x80", 0xfffd},
        {"\xff", 0xfffd},
        {"\xe2\x82", 0xfffd},
        {"\xe2\x82x", 0xfffd},
    }));
    const Utf8Char got = decode_utf8(c.bytes);
    CHECK(got.point == c.point);
    CHECK(got.valid == (c.point != 0xfffd));
    CHECK(got.length == (got.valid ? c.bytes.size() : 1));
}

TEST_CASE("utf8: repairing and cutting never leave half a character") {
    std::string out;
    append_valid_utf8(out, "a\xff\xe2\x82\xac\xe2\x82");
    CHECK(out == "a\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(utf8_prefix("\xe2\x82\xac", 3) == "\xe2\x82\xac");
    CHECK(utf8_prefix("x\xe2\x82\xac", 3) == "x");
    CHECK(utf8_prefix("x\xf0\x90\x80\x80", 4) == "x");
    CHECK(utf8_prefix("\x80\x80\x80\x80\x80\x80", 4).size() == 4);  // no character to keep whole
    CHECK(utf8_prefix("abc", 0).empty());
}
