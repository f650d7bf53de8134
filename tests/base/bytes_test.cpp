// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include "tests/catch.h"

#include <algorithm>
#include <array>
#include <vector>

using namespace warren::base;

TEST_CASE("bytes: big-endian numbers load and store") {
    std::array<uint8_t, 8> out{};
    store_be<uint64_t>(out, 0x0102030405060708u);
    CHECK(out == std::array<uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(load_be<uint64_t>(out) == 0x0102030405060708u);
    CHECK(load_be<uint32_t>(std::span<const uint8_t>(out).first<4>()) == 0x01020304u);
    CHECK(load_be<uint16_t>(std::span<const uint8_t>(out).last<2>()) == 0x0708u);
    store_be<uint16_t>(std::span<uint8_t>(out).first<2>(), 0xfffe);
    CHECK(out[0] == 0xff);
    CHECK(out[1] == 0xfe);
    CHECK(out[2] == 3);
}

TEST_CASE("bytes: a reader hands out numbers and bytes in order") {
    const std::vector<uint8_t> in{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 'h', 'i'};
    ByteReader reader(in);
    CHECK(reader.u8() == 1);
    CHECK(reader.u16() == 0x0203);
    CHECK(reader.u24() == 0x040506u);
    CHECK(reader.u32() == 0x0708090au);
    CHECK(reader.u64() == 0xfffefdfcfbfaf9f8u);
    CHECK(reader.position() == 18);
    CHECK(as_text(reader.rest()) == "hi");
    CHECK(as_text(reader.take(2).value()) == "hi");
    CHECK(reader.empty());
    REQUIRE(reader.take(0));
    CHECK(reader.take(0)->empty());
}

TEST_CASE("bytes: a read that does not fit returns nothing and does not move") {
    const std::array<uint8_t, 3> in{1, 2, 3};
    ByteReader reader(in);
    CHECK_FALSE(reader.u32());
    CHECK_FALSE(reader.u64());
    CHECK_FALSE(reader.take(4));
    CHECK_FALSE(reader.take(SIZE_MAX));
    CHECK(reader.remaining() == 3);
    CHECK(reader.u24() == 0x010203u);
    CHECK_FALSE(reader.u8());
    CHECK_FALSE(reader.take(SIZE_MAX));
    CHECK_FALSE(ByteReader({}).u8());
}

TEST_CASE("bytes: a writer fills its space to the last byte") {
    std::array<uint8_t, 20> space{};
    ByteWriter writer(space);
    writer.u8(1);
    writer.u16(0x0203);
    writer.u24(0x040506);
    writer.u32(0x0708090a);
    writer.u64(0x0b0c0d0e0f101112u);
    writer.bytes(as_bytes("hi"));
    REQUIRE(writer.written());
    CHECK(writer.written()->size() == 20);
    CHECK(to_hex(*writer.written()) == "0102030405060708090a0b0c0d0e0f1011126869");
}

TEST_CASE("bytes: a writer that ran out gives nothing, also when later writes would fit") {
    std::array<uint8_t, 4> space{9, 9, 9, 9};
    ByteWriter writer(space);
    writer.u16(1);
    writer.u32(2);  // four bytes into two
    CHECK_FALSE(writer.ok());
    writer.u8(3);
    CHECK_FALSE(writer.written());
    CHECK(space == std::array<uint8_t, 4>{0, 1, 9, 9});

    ByteWriter too_big(space);
    too_big.u24(0x1000000);
    CHECK_FALSE(too_big.written());
    CHECK(ByteWriter({}).written()->empty());
}

TEST_CASE("bytes: hex and base64 match the vectors of RFC 4648") {
    struct Row {
        const char* text;
        const char* hex;
        const char* base64;
    };
    const Row rows[] = {{"", "", ""},
                        {"f", "66", "Zg=="},
                        {"fo", "666f", "Zm8="},
                        {"foo", "666f6f", "Zm9v"},
                        {"foob", "666f6f62", "Zm9vYg=="},
                        {"fooba", "666f6f6261", "Zm9vYmE="},
                        {"foobar", "666f6f626172", "Zm9vYmFy"},
                        {"\xff\xfb\xff", "fffbff", "//v/"},
                        {"\xfb\xef\xbe", "fbefbe", "++++"}};
    for (const Row& row : rows) {
        CAPTURE(row.hex);
        CHECK(to_hex(as_bytes(row.text)) == row.hex);
        CHECK(to_base64(as_bytes(row.text)) == row.base64);
    }
    CHECK(to_base64(std::array<uint8_t, 1>{0}) == "AA==");
}

TEST_CASE("bytes: quoted text stays on one line and within its bound") {
    CHECK(quoted("10.0.0.1") == "'10.0.0.1'");
    CHECK(quoted("a\nb\x1b[31m\xc3\xa9") ==
          "'a?b?[31m?"
          "?'");  // in two pieces: ??' is a trigraph
    CHECK(quoted(std::string(64, 'x')) == "'" + std::string(64, 'x') + "'");
    CHECK(quoted(std::string(65, 'x')) == "'" + std::string(64, 'x') + "...'");
}

TEST_CASE("bytes: a wiped secret is gone") {
    std::array<uint8_t, 4> key{1, 2, 3, 4};
    wipe(std::span<uint8_t>(key).first(3));
    CHECK(key == std::array<uint8_t, 4>{0, 0, 0, 4});
    wipe(std::span<uint8_t>());

    std::string text(100, 'k');
    const char* where = text.data();
    wipe(text);
    CHECK(text.empty());
    CHECK(text.data() == where);  // the allocation is still the string's, so its bytes may be looked at
    CHECK(std::all_of(where, where + 100, [](char c) { return c == 0; }));
}
