// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/join.h"
#include "base/bytes.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <memory>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace warren::xds {

namespace {

template <auto Free>
struct Freed {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509_free>>;
void free_names(GENERAL_NAMES* names) noexcept { GENERAL_NAMES_free(names); }
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<free_names>>;

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return n > 0 ? std::string(data, static_cast<size_t>(n)) : std::string();
}

base::Error failed(const char* what) {
    const char* reason = ERR_reason_error_string(ERR_get_error());
    ERR_clear_error();
    return {base::Errc::Internal, 0, what, reason != nullptr ? reason : "no reason given"};
}

BioPtr reader(const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string first_uri(X509* certificate) {
    const NamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_URI) continue;
        const ASN1_STRING* uri = name->d.uniformResourceIdentifier;
        return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), static_cast<size_t>(ASN1_STRING_length(uri))};
    }
    return {};
}

base::Result<base::WallTime> time_of(const ASN1_TIME* time) {
    std::tm fields{};
    if (ASN1_TIME_to_tm(time, &fields) != 1) return base::invalid("unreadable time in a certificate");
    constexpr std::time_t kLast = std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1;  // of a WallTime
    return std::chrono::system_clock::from_time_t(std::clamp<std::time_t>(::timegm(&fields), 0, kLast));
}

}  // namespace

base::Result<KeyAndRequest> make_node_request() {
    ERR_clear_error();
    const KeyPtr key(EVP_EC_gen("P-256"));
    const RequestPtr request(X509_REQ_new());
    // Nothing but the key counts: who it is for stands in the call.
    if (!key || !request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(request.get(), key.get()) != 1 || X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
        return failed("certificate request");
    const BioPtr key_bio(BIO_new(BIO_s_secmem())), csr_bio(BIO_new(BIO_s_mem()));  // the first is cleansed when it is freed
    if (!key_bio || !csr_bio || PEM_write_bio_PKCS8PrivateKey(key_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
        PEM_write_bio_X509_REQ(csr_bio.get(), request.get()) != 1)
        return failed("certificate request");
    return KeyAndRequest{text_of(key_bio.get()), text_of(csr_bio.get())};
}

base::Result<std::string> read_node_credential(NodeCredential& credential) {
    ERR_clear_error();
    const BioPtr chain = reader(credential.chain_pem), key_bio = reader(credential.key_pem);
    const CertificatePtr leaf(chain ? PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr) : nullptr);
    auto no_password = [](char*, int, int, void*) { return -1; };
    const KeyPtr key(key_bio ? PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_password, nullptr) : nullptr);
    const bool pair = leaf && key && X509_check_private_key(leaf.get(), key.get()) == 1;
    std::string named = leaf ? first_uri(leaf.get()) : "";
    ERR_clear_error();
    if (!pair) return base::invalid("the certificate does not parse or is not of our key");
    credential.not_before = TRY(time_of(X509_get0_notBefore(leaf.get())));
    credential.not_after = TRY(time_of(X509_get0_notAfter(leaf.get())));
    return named;
}

base::Result<void> check_node_credential(NodeCredential& credential, const std::string& uri) {
    const std::string named = TRY(read_node_credential(credential));
    if (named != uri) return base::invalid("the certificate is for " + base::quoted(named) + ", not " + uri);
    if (credential.roots_pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos) return base::invalid("there are no roots");
    return {};
}

}  // namespace warren::xds
