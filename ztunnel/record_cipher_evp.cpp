// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/certificate_text.h"
#include "ztunnel/record_cipher.h"

#include <algorithm>

#include <openssl/err.h>

namespace warren::ztunnel {

namespace {

// Fetched once: an implicit fetch at every key would take OpenSSL's global locks.
EVP_CIPHER* cipher_of(Aead aead) {
    static const CipherPtr aes128(EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr));
    static const CipherPtr aes256(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
    return aead == Aead::Aes128Gcm ? aes128.get() : aes256.get();
}

class EvpKey final : public ExpandedKey {
  public:
    bool set(Aead aead, Direction direction, const uint8_t* key) override {
        EVP_CIPHER* cipher = cipher_of(aead);
        if (!ctx_) ctx_.reset(EVP_CIPHER_CTX_new());
        // The same cipher again is passed as null: OpenSSL then keeps its context and only expands the key.
        const bool ok =
            ctx_ && cipher != nullptr &&
            EVP_CipherInit_ex(ctx_.get(), cipher == cipher_ ? nullptr : cipher, nullptr, key, nullptr, direction == Direction::Seal) == 1;
        cipher_ = ok ? cipher : nullptr;
        if (!ok) ERR_clear_error();
        return ok;
    }

    void clear() noexcept override {
        if (ctx_) EVP_CIPHER_CTX_reset(ctx_.get());  // OpenSSL cleanses what it frees
        cipher_ = nullptr;
    }

    bool seal(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, uint8_t* tag) noexcept override {
        int n = 0;
        EVP_CIPHER_CTX* c = ctx_.get();
        return EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, nonce, -1) == 1 &&
               EVP_CipherUpdate(c, nullptr, &n, header, static_cast<int>(kRecordHeader)) == 1 &&
               EVP_CipherUpdate(c, data.data(), &n, data.data(), static_cast<int>(data.size())) == 1 &&
               EVP_CipherFinal_ex(c, data.data() + data.size(), &n) == 1 &&
               EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kRecordTag), tag) == 1;
    }

    bool open(const uint8_t* nonce, const uint8_t* header, std::span<uint8_t> data, const uint8_t* tag) noexcept override {
        int n = 0;
        EVP_CIPHER_CTX* c = ctx_.get();
        const bool ok = EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, nonce, -1) == 1 &&
                        EVP_CipherUpdate(c, nullptr, &n, header, static_cast<int>(kRecordHeader)) == 1 &&
                        EVP_CipherUpdate(c, data.data(), &n, data.data(), static_cast<int>(data.size())) == 1 &&
                        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kRecordTag), const_cast<uint8_t*>(tag)) == 1 &&
                        EVP_CipherFinal_ex(c, data.data() + data.size(), &n) == 1;
        if (!ok) {
            std::fill(data.begin(), data.end(), uint8_t{0});
            ERR_clear_error();
        }
        return ok;
    }

  private:
    CipherCtxPtr ctx_;
    EVP_CIPHER* cipher_ = nullptr;  // what ctx_ is set up for; lives as long as the program
};

}  // namespace

std::unique_ptr<ExpandedKey> make_evp_key() { return std::make_unique<EvpKey>(); }

}  // namespace warren::ztunnel
