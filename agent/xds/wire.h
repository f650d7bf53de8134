// SPDX-License-Identifier: Apache-2.0
// Protobuf's wire format where the generated messages cost too much: discovery responses of tens of megabytes and the requests that list
// as many names. The reader hands out views of the caller's bytes and fails at the first byte that makes no sense; the writer appends to
// one string whose size its caller knows beforehand. Groups (deprecated, in no schema of ours) are refused. Pure, any thread.
#pragma once

#include "base/bytes.h"
#include "base/utf8.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace warren::xds {

enum class Wire : uint8_t { Varint = 0, Fixed64 = 1, Length = 2, Fixed32 = 5 };

struct Field {
    uint32_t number = 0;
    Wire wire = Wire::Varint;
    std::span<const uint8_t> bytes;  // of Length
    [[nodiscard]] bool is(uint32_t wanted) const { return number == wanted && wire == Wire::Length; }
    [[nodiscard]] std::string_view text() const { return base::as_text(bytes); }
};

// One field after the other. Fields of an unexpected number or wire type are the caller's to ignore, as protobuf ignores unknown ones.
class FieldReader {
  public:
    explicit FieldReader(std::span<const uint8_t> bytes) : in_(bytes) {}

    // Nothing at the end and at the first byte that makes no sense; bad() tells which.
    std::optional<Field> next() {
        if (bad_ || in_.empty()) return std::nullopt;
        const auto tag = varint();
        if (!tag || *tag > UINT32_MAX || *tag >> 3 == 0) return fail();
        Field field{static_cast<uint32_t>(*tag >> 3), static_cast<Wire>(*tag & 7), {}};
        switch (field.wire) {
            case Wire::Varint: return varint() ? std::optional(field) : fail();
            case Wire::Fixed64: return in_.take(8) ? std::optional(field) : fail();
            case Wire::Fixed32: return in_.take(4) ? std::optional(field) : fail();
            case Wire::Length: break;
            default: return fail();
        }
        const auto size = varint();
        if (!size || *size > in_.remaining()) return fail();
        field.bytes = *in_.take(static_cast<size_t>(*size));
        return field;
    }
    [[nodiscard]] bool bad() const { return bad_; }

  private:
    std::optional<Field> fail() {
        bad_ = true;
        return std::nullopt;
    }
    std::optional<uint64_t> varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 70; shift += 7) {
            const auto byte = in_.u8();
            if (!byte) return std::nullopt;
            if (shift < 64) value |= uint64_t{*byte & 0x7fu} << shift;
            if (*byte < 0x80) return value;
        }
        return std::nullopt;
    }

    base::ByteReader in_;
    bool bad_ = false;
};

inline bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        if (static_cast<unsigned char>(text.front()) < 0x80) {
            text.remove_prefix(1);
            continue;
        }
        const auto c = base::decode_utf8(text);
        if (!c.valid) return false;
        text.remove_prefix(c.length);
    }
    return true;
}

// Fields of numbers below 16: one byte of tag.
constexpr size_t varint_size(size_t value) {
    size_t n = 1;
    for (; value >= 0x80; value >>= 7) ++n;
    return n;
}
constexpr size_t field_size(size_t length) { return 1 + varint_size(length) + length; }
inline void append_head(std::string& out, unsigned number, size_t length) {
    out.push_back(static_cast<char>(number << 3 | 2));
    for (; length >= 0x80; length >>= 7) out.push_back(static_cast<char>(length | 0x80));
    out.push_back(static_cast<char>(length));
}
inline void append_field(std::string& out, unsigned number, std::string_view text) {
    append_head(out, number, text.size());
    out.append(text);
}

}  // namespace warren::xds
