// SPDX-License-Identifier: Apache-2.0
// The part of the TLS 1.3 key schedule that is left after the handshake: from a traffic secret to key and iv, and to the next
// secret (RFC 8446 7.1 to 7.3, 7.2 for key updates). Pure functions, any thread. Secrets are wiped when they go.
#pragma once

#include "ztunnel/record_cipher.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace warren::ztunnel {

enum class TlsHash : uint8_t { Sha256, Sha384 };
[[nodiscard]] constexpr size_t hash_bytes(TlsHash hash) { return hash == TlsHash::Sha256 ? 32 : 48; }

struct TlsSuite {
    Aead aead = Aead::Aes128Gcm;
    TlsHash hash = TlsHash::Sha256;
};
// By its number of RFC 8446 B.4; nothing for those we do not offer.
[[nodiscard]] std::optional<TlsSuite> suite_of(uint16_t id);

// HKDF-Expand-Label with an empty or short context. out is at most one hash long, which is all that records need. False: it does not
// fit, or OpenSSL has no memory.
[[nodiscard]] bool expand_label(TlsHash hash, std::span<const uint8_t> secret, std::string_view label, std::span<const uint8_t> context,
                                std::span<uint8_t> out);

// A traffic secret and the key made from it: one direction of one connection.
class TrafficKey {
  public:
    TrafficKey() = default;
    ~TrafficKey();
    TrafficKey(const TrafficKey&) = delete;
    TrafficKey& operator=(const TrafficKey&) = delete;

    [[nodiscard]] bool install(TlsSuite suite, Direction direction, std::span<const uint8_t> secret);
    // application_traffic_secret_N+1; the sequence starts over.
    [[nodiscard]] bool update();
    [[nodiscard]] RecordKey& records() { return key_; }
    [[nodiscard]] const RecordKey& records() const { return key_; }

  private:
    [[nodiscard]] bool derive();
    RecordKey key_;
    std::array<uint8_t, 48> secret_{};
    TlsSuite suite_;
    Direction direction_ = Direction::Seal;
};

}  // namespace warren::ztunnel
