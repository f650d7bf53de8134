// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/certificate_text.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::cluster {

namespace {

BioPtr reader(std::string_view text) {
    if (text.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return nullptr;
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// PEM_read_bio_X509 would pass over other blocks, but cannot tell the end of the text from a damaged one.
struct PemBlock {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long size = 0;
    PemBlock() = default;
    PemBlock(const PemBlock&) = delete;
    PemBlock& operator=(const PemBlock&) = delete;
    ~PemBlock() {
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, static_cast<size_t>(size));
    }
};

}  // namespace

base::Result<std::vector<X509Ptr>> read_certificates(std::string_view pem) {
    std::vector<X509Ptr> certificates;
    const BioPtr bio = reader(pem);
    while (bio) {
        PemBlock block;
        ERR_clear_error();
        if (PEM_read_bio(bio.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
            const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            const std::string reason = openssl_reason();
            if (end) break;
            return base::invalid("a PEM block is damaged (" + reason + ")");
        }
        if (std::string_view(block.name) != "CERTIFICATE") continue;
        const unsigned char* at = block.data;
        X509Ptr certificate(d2i_X509(nullptr, &at, block.size));
        if (!certificate) return base::invalid("certificate " + std::to_string(certificates.size() + 1) + ": " + openssl_reason());
        if (at != block.data + block.size)
            return base::invalid("certificate " + std::to_string(certificates.size() + 1) + " is followed by foreign bytes");
        certificates.push_back(std::move(certificate));
    }
    return certificates;
}

base::Result<KeyPtr> read_private_key(std::string_view pem) {
    const BioPtr bio = reader(pem);
    auto no_password = [](char*, int, int, void*) { return -1; };
    ERR_clear_error();
    KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
    if (!key) return base::invalid("no private key in PEM without a password (" + openssl_reason() + ")");
    return key;
}

std::string to_pem(X509_CRL* list) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return bio && PEM_write_bio_X509_CRL(bio.get(), list) == 1 ? bio_text(bio.get()) : std::string();
}

std::string to_pem(EVP_PKEY* key) {
    // Cleansed when it is freed, unlike BIO_s_mem.
    const BioPtr bio(BIO_new(BIO_s_secmem()));
    const bool written = bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
    return written ? bio_text(bio.get()) : std::string();
}

base::Result<base::WallTime> time_of(const ASN1_TIME* time) {
    std::tm fields{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1) return base::invalid("unreadable time in a certificate");
    // Nanoseconds in 64 bits end in 2262; "no well-defined end" (RFC 5280 4.1.2.5) is the year 9999.
    constexpr std::time_t kLast = std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1;
    return std::chrono::system_clock::from_time_t(std::clamp<std::time_t>(::timegm(&fields), 0, kLast));
}

bool set_time(ASN1_TIME* field, base::WallTime time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
    return field != nullptr && ASN1_TIME_set(field, static_cast<time_t>(seconds)) != nullptr;
}

std::string serial_hex(const ASN1_INTEGER* serial) {
    const BignumPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
    char* text = number ? BN_bn2hex(number.get()) : nullptr;
    std::string hex = text != nullptr ? text : "";
    OPENSSL_free(text);
    return hex;
}

bool self_signed(X509* certificate) { return X509_self_signed(certificate, 0) == 1; }

}  // namespace warren::cluster
