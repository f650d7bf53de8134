// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/record_cipher.h"

#include "base/bytes.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

namespace warren::ztunnel {

// One place of the cache. `owner` is null when it is free.
struct detail::KeySlot {
    KeyCache* cache = nullptr;
    RecordKey* owner = nullptr;
    std::unique_ptr<ExpandedKey> key;
    CipherEngine engine = CipherEngine::Evp;
    bool used = false;  // since the hand came by
};

// Second-chance replacement: a key in use costs one store a record, no list is kept.
class KeyCache {
  public:
    KeyCache() { slots_.reserve(kExpandedKeys); }  // never grows beyond: slots have fixed addresses
    KeyCache(const KeyCache&) = delete;
    KeyCache& operator=(const KeyCache&) = delete;
    ~KeyCache() {
        for (auto& slot : slots_)
            if (slot.owner != nullptr) release(slot);
    }

    // Null when the engine cannot expand the key.
    detail::KeySlot* acquire(RecordKey& owner) {
        detail::KeySlot& slot = place();
        if (!slot.key || slot.engine != owner.engine_) {
            slot.key = owner.engine_ == CipherEngine::IpsecMb ? make_ipsec_mb_key() : make_evp_key();
            slot.engine = owner.engine_;
        }
        if (!slot.key || !slot.key->set(owner.aead_, owner.direction_, owner.key_.data())) {
            free_.push_back(&slot);
            return nullptr;
        }
        slot.owner = &owner;
        return owner.slot_ = &slot;
    }

    void release(detail::KeySlot& slot) noexcept {
        slot.key->clear();
        slot.owner->slot_ = nullptr;
        slot.owner = nullptr;
        free_.push_back(&slot);
    }

  private:
    detail::KeySlot& place() {
        if (free_.empty() && slots_.size() < kExpandedKeys) {
            free_.reserve(kExpandedKeys);
            slots_.emplace_back().cache = this;
            return slots_.back();
        }
        while (free_.empty()) {
            detail::KeySlot& slot = slots_[hand_++ % slots_.size()];
            if (!std::exchange(slot.used, false)) release(slot);
        }
        detail::KeySlot& slot = *free_.back();
        free_.pop_back();
        return slot;
    }

    std::vector<detail::KeySlot> slots_;
    std::vector<detail::KeySlot*> free_;
    size_t hand_ = 0;
};

namespace {

KeyCache& this_threads_cache() {
    static thread_local KeyCache cache;
    return cache;
}

constexpr uint8_t kNotChosen = 0xff;
std::atomic<uint8_t> chosen{kNotChosen};

// One record of n bytes under fixed key and nonce, the whole of it compared.
bool agrees(ExpandedKey& ours, ExpandedKey& reference, size_t n) {
    const std::array<uint8_t, kRecordIv> nonce{9, 8, 7, 6, 5, 4, 3, 2, 1};
    const std::array<uint8_t, kRecordHeader> header{0x17, 3, 3, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
    std::vector<uint8_t> a(n), b(n);
    for (size_t i = 0; i < n; ++i) a[i] = b[i] = static_cast<uint8_t>(i * 7 + n);
    std::array<uint8_t, kRecordTag> tag_a{}, tag_b{};
    if (!ours.seal(nonce.data(), header.data(), a, tag_a.data()) || !reference.seal(nonce.data(), header.data(), b, tag_b.data()))
        return false;
    return a == b && tag_a == tag_b;
}

bool opens(ExpandedKey& opener, ExpandedKey& sealer, size_t n) {
    const std::array<uint8_t, kRecordIv> nonce{1};
    const std::array<uint8_t, kRecordHeader> header{0x17, 3, 3};
    const std::vector<uint8_t> plain(n, 0x5a);
    std::array<uint8_t, kRecordTag> tag{};
    std::vector<uint8_t> data = plain;
    if (!sealer.seal(nonce.data(), header.data(), data, tag.data())) return false;
    std::vector<uint8_t> changed = data;
    if (!opener.open(nonce.data(), header.data(), data, tag.data()) || data != plain) return false;
    tag[15] ^= 1;
    return !opener.open(nonce.data(), header.data(), changed, tag.data());
}

// The GCM specification's test case 2: AES-128, key, nonce and block all zero.
bool known_answer() {
    static constexpr uint8_t kText[16] = {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe, 0x78};
    const auto key = make_evp_key();
    const std::array<uint8_t, 32> zero{};
    std::array<uint8_t, 16> block{}, tag{};
    return key && key->set(Aead::Aes128Gcm, Direction::Seal, zero.data()) && key->seal(zero.data(), zero.data(), block, tag.data()) &&
           std::memcmp(block.data(), kText, sizeof kText) == 0;
}

std::unique_ptr<ExpandedKey> make_key(CipherEngine engine) { return engine == CipherEngine::Evp ? make_evp_key() : make_ipsec_mb_key(); }

bool tested(CipherEngine engine) {
    static const bool evp = self_test(CipherEngine::Evp);
    if (engine == CipherEngine::Evp) return evp;
    static const bool ipsec_mb = self_test(CipherEngine::IpsecMb);
    return ipsec_mb;
}

}  // namespace

#ifndef WARREN_IPSEC_MB
std::unique_ptr<ExpandedKey> make_ipsec_mb_key() { return nullptr; }
#endif

bool self_test(CipherEngine engine) {
    if (engine == CipherEngine::Evp && !known_answer()) return false;
    static constexpr size_t kSizes[] = {1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4096, kMaxPlaintext, kMaxPlaintext + 1};
    std::array<uint8_t, 32> key{};
    for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(0xa0 + i);
    for (const Aead aead : {Aead::Aes128Gcm, Aead::Aes256Gcm}) {
        const auto seal = make_key(engine), open = make_key(engine), reference = make_evp_key();
        if (!seal || !open || !reference || !seal->set(aead, Direction::Seal, key.data()) ||
            !open->set(aead, Direction::Open, key.data()) || !reference->set(aead, Direction::Seal, key.data()))
            return false;
        for (const size_t n : kSizes)
            if (!agrees(*seal, *reference, n) || !opens(*open, *reference, n)) return false;
    }
    return true;
}

CipherEngine cipher_engine() {
    const uint8_t now = chosen.load(std::memory_order_relaxed);
    if (now != kNotChosen) return static_cast<CipherEngine>(now);
    const CipherEngine best = tested(CipherEngine::IpsecMb) ? CipherEngine::IpsecMb : CipherEngine::Evp;
    uint8_t unset = kNotChosen;  // a choice made meanwhile wins
    chosen.compare_exchange_strong(unset, static_cast<uint8_t>(best));
    return static_cast<CipherEngine>(chosen.load());
}

base::Result<void> choose_cipher_engine(CipherEngine engine) {
    if (engine == CipherEngine::IpsecMb && !make_ipsec_mb_key())
        return base::Error{base::Errc::Unsupported, 0, "record cipher",
                           "ipsec-mb needs a build with libipsec-mb and a CPU with AVX2, AES and "
                           "PCLMULQDQ; leave the choice to the program or name evp"};
    if (!tested(engine)) return base::Error{base::Errc::Internal, 0, "record cipher", "the self-test of the chosen AES-GCM failed"};
    chosen.store(static_cast<uint8_t>(engine));
    return {};
}

RecordKey::~RecordKey() {
    drop_slot();
    base::wipe(key_);
    base::wipe(iv_);
}

void RecordKey::drop_slot() noexcept {
    if (slot_ != nullptr) slot_->cache->release(*slot_);
}

void RecordKey::set(Aead aead, Direction direction, std::span<const uint8_t> key, std::span<const uint8_t, kRecordIv> iv) {
    drop_slot();
    aead_ = aead;
    direction_ = direction;
    engine_ = cipher_engine();
    std::copy_n(key.begin(), key_bytes(aead), key_.begin());
    std::copy(iv.begin(), iv.end(), iv_.begin());
    sequence_ = 0;
}

void RecordKey::set_engine(CipherEngine engine) {
    drop_slot();
    engine_ = engine;
}

ExpandedKey* RecordKey::expanded() noexcept {
    detail::KeySlot* slot = slot_;
    if (slot == nullptr && (slot = this_threads_cache().acquire(*this)) == nullptr) return nullptr;
    slot->used = true;
    return slot->key.get();
}

// RFC 8446 5.3: the sequence number in network order, padded on the left, xor the iv.
void RecordKey::nonce(uint8_t* out) const noexcept {
    std::memcpy(out, iv_.data(), kRecordIv);
    for (size_t i = 0; i < 8; ++i) out[4 + i] = static_cast<uint8_t>(out[4 + i] ^ (sequence_ >> (8 * (7 - i))));
}

bool RecordKey::seal(uint8_t* record, size_t inner) noexcept {
    ExpandedKey* key = expanded();
    if (key == nullptr) return false;
    const size_t n = inner + kRecordTag;
    record[0] = 0x17;  // application_data, TLS 1.2: what TLS 1.3 looks like from outside
    record[1] = 3;
    record[2] = 3;
    record[3] = static_cast<uint8_t>(n >> 8);
    record[4] = static_cast<uint8_t>(n);
    uint8_t iv[kRecordIv];
    nonce(iv);
    ++sequence_;
    return key->seal(iv, record, {record + kRecordHeader, inner}, record + kRecordHeader + inner);
}

bool RecordKey::open(std::span<uint8_t> record) noexcept {
    ExpandedKey* key = expanded();
    if (key == nullptr) return false;
    uint8_t iv[kRecordIv];
    nonce(iv);
    ++sequence_;
    const size_t inner = record.size() - kRecordHeader - kRecordTag;
    return key->open(iv, record.data(), record.subspan(kRecordHeader, inner), record.data() + kRecordHeader + inner);
}

}  // namespace warren::ztunnel
