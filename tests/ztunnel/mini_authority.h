// SPDX-License-Identifier: Apache-2.0
// An authority of a few lines that answers signing requests, as a certificate service does; independent of the code under test.
#pragma once

#include "tests/catch.h"
#include "ztunnel/certificate_text.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <string>

namespace warren::tests {

inline std::string pem_of_key(EVP_PKEY* key) {
    const ztunnel::BioPtr bio(BIO_new(BIO_s_mem()));
    if (PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) std::abort();
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<size_t>(n)};
}

class MiniAuthority {
  public:
    explicit MiniAuthority(ztunnel::KeyPtr key = ztunnel::KeyPtr(EVP_EC_gen("P-256")), long seconds = 86400, bool authority = true)
        : key_(std::move(key)), certificate_(begin(key_.get(), seconds)) {
        X509* x = certificate_.get();
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("lab"), -1, -1, 0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        extend(x, NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
        if (X509_sign(x, key_.get(), EVP_sha256()) <= 0) std::abort();
    }
    [[nodiscard]] std::string pem() const { return ztunnel::to_pem(certificate_.get()); }
    [[nodiscard]] std::string key_pem() const { return pem_of_key(key_.get()); }

    // A certificate for the key of the request and for whatever URI; empty when the request's own signature is wrong.
    [[nodiscard]] std::string issue(const std::string& csr_pem, const std::string& uri) const {
        const ztunnel::BioPtr bio(BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size())));
        const ztunnel::X509ReqPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
        if (!request || X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) != 1) return "";
        const ztunnel::X509Ptr x = begin(X509_REQ_get0_pubkey(request.get()), 3600);
        X509_set_issuer_name(x.get(), X509_get_subject_name(certificate_.get()));
        extend(x.get(), NID_subject_alt_name, ("critical,URI:" + uri).c_str());
        if (X509_sign(x.get(), key_.get(), EVP_sha256()) <= 0) std::abort();
        return ztunnel::to_pem(x.get());
    }

  private:
    static ztunnel::X509Ptr begin(EVP_PKEY* key, long seconds) {
        ztunnel::X509Ptr x(X509_new());
        X509_set_version(x.get(), X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x.get()), 1);
        X509_gmtime_adj(X509_getm_notBefore(x.get()), -3600);
        X509_gmtime_adj(X509_getm_notAfter(x.get()), seconds);
        X509_set_pubkey(x.get(), key);
        return x;
    }
    static void extend(X509* x, int nid, const char* value) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
        if (extension == nullptr || X509_add_ext(x, extension, -1) != 1) std::abort();
        X509_EXTENSION_free(extension);
    }

    ztunnel::KeyPtr key_;
    ztunnel::X509Ptr certificate_;
};

}  // namespace warren::tests
