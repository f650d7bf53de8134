// SPDX-License-Identifier: Apache-2.0
// RecordKey: seals or opens the records of one direction of a TLS 1.3 connection in place (RFC 8446 5.2, 5.3). AES-GCM comes from
// OpenSSL's EVP, or from ipsec-mb's single-buffer functions where the CPU has AVX2 and carry-less multiply (with VAES a fourth of the
// cost).
//
// Expanded keys are large (about 1 KiB) and quick to make again (about 0.1 us), so idle connections do not keep them: each thread
// has a bounded cache of them, borrowed by the keys in use and taken from those that rest. A RecordKey therefore belongs to one thread from
// its first use to its end. Keys are wiped when they go.
#pragma once

#include "base/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace warren::ztunnel {

enum class Aead : uint8_t { Aes128Gcm, Aes256Gcm };
enum class CipherEngine : uint8_t { Evp, IpsecMb };
enum class Direction : uint8_t { Seal, Open };

inline constexpr size_t kRecordHeader = 5;
inline constexpr size_t kRecordTag = 16;
inline constexpr size_t kRecordIv = 12;
inline constexpr size_t kMaxPlaintext = 16384;                             // RFC 8446 5.1, without type and padding
inline constexpr size_t kRecordOverhead = kRecordHeader + 1 + kRecordTag;  // what a record without padding adds
inline constexpr size_t kMaxRecord = kRecordHeader + kMaxPlaintext + 256;  // RFC 8446 5.2
inline constexpr size_t kExpandedKeys = 256;                               // a thread's cache: 256 KiB

[[nodiscard]] constexpr size_t key_bytes(Aead aead) { return aead == Aead::Aes128Gcm ? 16 : 32; }

// The engine new keys use: the best that passed its self-test, unless one was chosen. Any thread.
[[nodiscard]] CipherEngine cipher_engine();
// Chooses for keys made from now on; Unsupported when the machine or the build lacks it, Internal when its self-test fails.
base::Result<void> choose_cipher_engine(CipherEngine engine);

// A key ready for use by one engine. Only the cache and the engines' files deal with it.
class ExpandedKey {
  public:
    virtual ~ExpandedKey() = default;
    [[nodiscard]] virtual bool set(Aead aead, Direction direction, const uint8_t* key) = 0;
    virtual void clear() noexcept = 0;  // wipes
    // data is replaced in place; the header is authenticated with it.
    [[nodiscard]] virtual bool seal(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, uint8_t* tag) noexcept = 0;
    // False: not authentic; data is then worthless and has been cleared.
    [[nodiscard]] virtual bool open(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, const uint8_t* tag) noexcept = 0;
};
[[nodiscard]] std::unique_ptr<ExpandedKey> make_evp_key();
[[nodiscard]] std::unique_ptr<ExpandedKey> make_ipsec_mb_key();  // null where the CPU lacks what it needs
// Known answer for EVP; the other engines must agree with EVP over a range of sizes and refuse a changed tag.
[[nodiscard]] bool self_test(CipherEngine engine);

class KeyCache;
namespace detail {
struct KeySlot;
}

class RecordKey {
  public:
    RecordKey() = default;
    RecordKey(const RecordKey&) = delete;  // the cache points back at it
    RecordKey& operator=(const RecordKey&) = delete;
    ~RecordKey();

    // The sequence starts at 0.
    void set(Aead aead, Direction direction, std::span<const uint8_t> key, std::span<const uint8_t, kRecordIv> iv);
    void set_engine(CipherEngine engine);  // before the first record; default: cipher_engine()

    // record: header space, `inner` bytes of plaintext with its content type, tag space. Writes the header, encrypts, adds the tag.
    // False only when the engine fails (memory).
    [[nodiscard]] bool seal(uint8_t* record, size_t inner) noexcept;
    // record: a whole one with its header, at least header and tag long. True: bytes [5, size - 16) are the inner plaintext.
    [[nodiscard]] bool open(std::span<uint8_t> record) noexcept;
    // Records sealed or opened with this key.
    [[nodiscard]] uint64_t sequence() const noexcept { return sequence_; }

  private:
    friend class KeyCache;
    void nonce(uint8_t* out) const noexcept;
    ExpandedKey* expanded() noexcept;
    void drop_slot() noexcept;

    detail::KeySlot* slot_ = nullptr;
    uint64_t sequence_ = 0;
    std::array<uint8_t, 32> key_{};
    std::array<uint8_t, kRecordIv> iv_{};
    Aead aead_ = Aead::Aes128Gcm;
    Direction direction_ = Direction::Seal;
    CipherEngine engine_ = CipherEngine::Evp;
};

}  // namespace warren::ztunnel
