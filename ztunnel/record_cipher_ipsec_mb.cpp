// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"
#include "ztunnel/record_cipher.h"

#include <algorithm>

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

namespace warren::ztunnel {

namespace {

// The manager is only a table of functions here, read by every thread and never freed.
const IMB_MGR* manager() {
    static const IMB_MGR* const instance = []() -> const IMB_MGR* {
        IMB_MGR* m = alloc_mb_mgr(0);
        if (m == nullptr) return nullptr;
        init_mb_mgr_auto(m, nullptr);
        // With AVX2 alone bulk is even with EVP and small records cost an eighth; below that there is nothing to gain.
        constexpr uint64_t kNeeded = IMB_FEATURE_AVX2 | IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SELF_TEST_PASS;
        if (imb_get_errno(m) == 0 && (m->features & kNeeded) == kNeeded) return m;
        free_mb_mgr(m);
        return nullptr;
    }();
    return instance;
}

class alignas(64) IpsecMbKey final : public ExpandedKey {
  public:
    ~IpsecMbKey() override { IpsecMbKey::clear(); }

    bool set(Aead aead, Direction direction, const uint8_t* key) override {
        const IMB_MGR* m = manager();
        const bool small = aead == Aead::Aes128Gcm;
        (small ? m->gcm128_pre : m->gcm256_pre)(key, &data_);
        if (direction == Direction::Seal) {
            run_ = small ? m->gcm128_enc : m->gcm256_enc;
        } else {
            run_ = small ? m->gcm128_dec : m->gcm256_dec;
        }
        return true;
    }

    void clear() noexcept override { base::wipe({reinterpret_cast<uint8_t*>(&data_), sizeof data_}); }

    bool seal(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, uint8_t* tag) noexcept override {
        gcm_context_data context;
        run_(&data_, &context, data.data(), data.data(), data.size(), nonce, header, kRecordHeader, tag, kRecordTag);
        return true;
    }

    bool open(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, const uint8_t* tag) noexcept override {
        gcm_context_data context;
        uint8_t expected[kRecordTag];
        run_(&data_, &context, data.data(), data.data(), data.size(), nonce, header, kRecordHeader, expected, kRecordTag);
        if (CRYPTO_memcmp(expected, tag, kRecordTag) == 0) return true;
        std::fill(data.begin(), data.end(), uint8_t{0});
        return false;
    }

  private:
    alignas(64) gcm_key_data data_{};
    aes_gcm_enc_dec_t run_ = nullptr;
};

}  // namespace

std::unique_ptr<ExpandedKey> make_ipsec_mb_key() {
    if (manager() == nullptr) return nullptr;
    return std::make_unique<IpsecMbKey>();
}

}  // namespace warren::ztunnel
