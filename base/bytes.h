// SPDX-License-Identifier: Apache-2.0
// Bytes as spans: views of text, big-endian numbers, bounded cursors for reading and writing wire formats, hex and base64 (RFC 4648), and
// wiping of secrets. Nothing here reads or writes outside the span it was given; what does not fit is reported, never cut short. The
// cursors borrow their bytes and live on one stack; the functions are pure and may be called from any thread.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace warren::base {

inline std::span<const uint8_t> as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
inline std::string_view as_text(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Network order. The span's extent is the number's size, so the bound is checked where the span is made: load_be<uint32_t>(s.first<4>()).
template <std::unsigned_integral T>
constexpr T load_be(std::span<const uint8_t, sizeof(T)> in) {
    uint64_t value = 0;
    for (const uint8_t byte : in) value = value << 8 | byte;
    return static_cast<T>(value);
}
template <std::unsigned_integral T>
constexpr void store_be(std::span<uint8_t, sizeof(T)> out, T value) {
    for (size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<uint8_t>(uint64_t{value} >> (8 * (sizeof(T) - 1 - i)));
}

// Reads forward over borrowed bytes. A read that does not fit returns nothing and leaves the cursor where it was.
class ByteReader {
  public:
    explicit constexpr ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    std::optional<uint8_t> u8() { return number<uint8_t>(1); }
    std::optional<uint16_t> u16() { return number<uint16_t>(2); }
    std::optional<uint32_t> u24() { return number<uint32_t>(3); }
    std::optional<uint32_t> u32() { return number<uint32_t>(4); }
    std::optional<uint64_t> u64() { return number<uint64_t>(8); }
    // The next n bytes, still borrowed.
    std::optional<std::span<const uint8_t>> take(size_t n);

    [[nodiscard]] size_t position() const { return at_; }
    [[nodiscard]] size_t remaining() const { return bytes_.size() - at_; }
    [[nodiscard]] bool empty() const { return remaining() == 0; }
    [[nodiscard]] std::span<const uint8_t> rest() const { return bytes_.subspan(at_); }

  private:
    template <class T>
    std::optional<T> number(size_t n) {
        const auto in = take(n);
        if (!in) return std::nullopt;
        uint64_t value = 0;
        for (const uint8_t byte : *in) value = value << 8 | byte;
        return static_cast<T>(value);
    }

    std::span<const uint8_t> bytes_;
    size_t at_ = 0;
};

// Writes forward into borrowed space. The first write that does not fit writes nothing and fails the whole writer, later ones too, so a
// message is composed without checks and asked for once with written().
class ByteWriter {
  public:
    explicit constexpr ByteWriter(std::span<uint8_t> space) : space_(space) {}

    void u8(uint8_t value) { number(value, 1); }
    void u16(uint16_t value) { number(value, 2); }
    void u24(uint32_t value);  // a value above 2^24 - 1 does not fit
    void u32(uint32_t value) { number(value, 4); }
    void u64(uint64_t value) { number(value, 8); }
    void bytes(std::span<const uint8_t> in);

    [[nodiscard]] bool ok() const { return ok_; }
    // All that was written; nothing when any write did not fit.
    [[nodiscard]] std::optional<std::span<const uint8_t>> written() const;

  private:
    void number(uint64_t value, size_t n);

    std::span<uint8_t> space_;
    size_t at_ = 0;
    bool ok_ = true;
};

// Lower-case digits.
[[nodiscard]] std::string to_hex(std::span<const uint8_t> bytes);
// RFC 4648 section 4: the standard alphabet, padded, no line breaks.
[[nodiscard]] std::string to_base64(std::span<const uint8_t> bytes);

// Foreign text for an error message: in single quotes, on one line, what is not printable ASCII as '?', cut after 64 characters ("...").
[[nodiscard]] std::string quoted(std::string_view text);

// Zeroes a secret in a way the compiler may not drop. Copies made before (a grown or moved string) are the caller's to avoid.
void wipe(std::span<uint8_t> secret) noexcept;
void wipe(std::string& secret) noexcept;  // and leaves it empty

}  // namespace warren::base
