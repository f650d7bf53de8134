// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/key_schedule.h"

#include "base/bytes.h"

#include <algorithm>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace warren::ztunnel {

std::optional<TlsSuite> suite_of(uint16_t id) {
    if (id == 0x1301) return TlsSuite{Aead::Aes128Gcm, TlsHash::Sha256};
    if (id == 0x1302) return TlsSuite{Aead::Aes256Gcm, TlsHash::Sha384};
    return std::nullopt;
}

bool expand_label(TlsHash hash, std::span<const uint8_t> secret, std::string_view label, std::span<const uint8_t> context,
                  std::span<uint8_t> out) {
    if (out.size() > hash_bytes(hash)) return false;
    // HkdfLabel, then the block counter of HKDF-Expand (RFC 5869 2.3); one block is enough.
    std::array<uint8_t, 2 + 1 + 255 + 1 + 255 + 1> info;
    base::ByteWriter w(info);
    w.u16(static_cast<uint16_t>(out.size()));
    w.u8(static_cast<uint8_t>(6 + label.size()));
    w.bytes(base::as_bytes("tls13 "));
    w.bytes(base::as_bytes(label));
    w.u8(static_cast<uint8_t>(context.size()));
    w.bytes(context);
    w.u8(1);
    const auto text = w.written();
    if (!text || label.size() > 249 || context.size() > 255) return false;
    std::array<uint8_t, EVP_MAX_MD_SIZE> block;
    unsigned int n = 0;
    const bool ok = HMAC(hash == TlsHash::Sha256 ? EVP_sha256() : EVP_sha384(), secret.data(), static_cast<int>(secret.size()),
                         text->data(), text->size(), block.data(), &n) != nullptr &&
                    n >= out.size();
    if (ok) std::copy_n(block.begin(), out.size(), out.begin());
    base::wipe(block);
    return ok;
}

TrafficKey::~TrafficKey() { base::wipe(secret_); }

bool TrafficKey::install(TlsSuite suite, Direction direction, std::span<const uint8_t> secret) {
    if (secret.size() != hash_bytes(suite.hash)) return false;
    suite_ = suite;
    direction_ = direction;
    std::copy(secret.begin(), secret.end(), secret_.begin());
    return derive();
}

bool TrafficKey::update() {
    const auto secret = std::span<uint8_t>(secret_).first(hash_bytes(suite_.hash));
    std::array<uint8_t, 48> next;
    const bool ok = expand_label(suite_.hash, secret, "traffic upd", {}, std::span<uint8_t>(next).first(secret.size()));
    if (ok) std::copy_n(next.begin(), secret.size(), secret.begin());
    base::wipe(next);
    return ok && derive();
}

bool TrafficKey::derive() {
    const auto secret = std::span<const uint8_t>(secret_).first(hash_bytes(suite_.hash));
    std::array<uint8_t, 32> key;
    std::array<uint8_t, kRecordIv> iv;
    const bool ok = expand_label(suite_.hash, secret, "key", {}, std::span<uint8_t>(key).first(key_bytes(suite_.aead))) &&
                    expand_label(suite_.hash, secret, "iv", {}, iv);
    if (ok) key_.set(suite_.aead, direction_, key, iv);
    base::wipe(key);
    base::wipe(iv);
    return ok;
}

}  // namespace warren::ztunnel
