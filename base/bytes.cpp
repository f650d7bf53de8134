// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <algorithm>
#include <cstring>

namespace warren::base {

std::optional<std::span<const uint8_t>> ByteReader::take(size_t n) {
    if (n > remaining()) return std::nullopt;
    const auto out = bytes_.subspan(at_, n);
    at_ += n;
    return out;
}

void ByteWriter::u24(uint32_t value) {
    if (value >> 24 != 0) ok_ = false;
    number(value, 3);
}

void ByteWriter::bytes(std::span<const uint8_t> in) {
    ok_ = ok_ && in.size() <= space_.size() - at_;
    if (!ok_) return;
    std::copy(in.begin(), in.end(), space_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += in.size();
}

std::optional<std::span<const uint8_t>> ByteWriter::written() const {
    if (!ok_) return std::nullopt;
    return space_.first(at_);
}

void ByteWriter::number(uint64_t value, size_t n) {
    uint8_t be[sizeof value];
    store_be<uint64_t>(be, value);
    bytes(std::span<const uint8_t>(be).last(n));
}

std::string to_hex(std::span<const uint8_t> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const uint8_t byte : bytes) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::string to_base64(std::span<const uint8_t> bytes) {
    static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t have = std::min<size_t>(3, bytes.size() - i);
        uint32_t group = 0;
        for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < have ? bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; ++k) out += k <= have ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

std::string quoted(std::string_view text) {
    static constexpr size_t kShown = 64;  // longer than any address, prefix, port or time; short enough for a log line
    std::string out = "'";
    for (const char c : text.substr(0, kShown)) out += c >= ' ' && c <= '~' ? c : '?';
    if (text.size() > kShown) out += "...";
    out += '\'';
    return out;
}

void wipe(std::span<uint8_t> secret) noexcept {
    if (!secret.empty()) ::explicit_bzero(secret.data(), secret.size());
}

void wipe(std::string& secret) noexcept {
    wipe({reinterpret_cast<uint8_t*>(secret.data()), secret.size()});
    secret.clear();
}

}  // namespace warren::base
