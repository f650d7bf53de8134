// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"
#include "ztunnel/certificate_text.h"
#include "ztunnel/credential.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::ztunnel {

namespace {

std::string bio_text(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return {data, static_cast<size_t>(n)};
}

// One critical SubjectAltName of one URI. Built from its parts: OpenSSL's text form would read commas in the URI as syntax.
bool add_uri(X509_REQ* request, const std::string& uri) {
    const GeneralNamesPtr names(sk_GENERAL_NAME_new_null());
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    GENERAL_NAME* name = GENERAL_NAME_new();
    if (!names || text == nullptr || name == nullptr || ASN1_STRING_set(text, uri.data(), static_cast<int>(uri.size())) != 1) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    if (sk_GENERAL_NAME_push(names.get(), name) <= 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, 1, names.get());
    const bool pushed = extensions != nullptr && extension != nullptr && sk_X509_EXTENSION_push(extensions, extension) > 0;
    if (!pushed) X509_EXTENSION_free(extension);
    const bool ok = pushed && X509_REQ_add_extensions(request, extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok;
}

}  // namespace

CertificateRequest::~CertificateRequest() { base::wipe(key_pem); }

base::Result<CertificateRequest> make_certificate_request(const policy::Identity& identity) {
    if (identity.empty()) return base::invalid("certificate request: the identity is empty");
    ERR_clear_error();
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509ReqPtr request(X509_REQ_new());
    if (!key || !request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(request.get(), key.get()) != 1 || !add_uri(request.get(), identity.uri()) ||
        X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
        return openssl_error("certificate request");
    // Secure-heap or not, the buffer is cleansed when it is freed.
    const BioPtr key_bio(BIO_new(BIO_s_secmem())), csr_bio(BIO_new(BIO_s_mem()));
    if (!key_bio || !csr_bio || PEM_write_bio_PKCS8PrivateKey(key_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
        PEM_write_bio_X509_REQ(csr_bio.get(), request.get()) != 1)
        return openssl_error("certificate request");
    CertificateRequest made;
    made.csr_pem = bio_text(csr_bio.get());
    made.key_pem = bio_text(key_bio.get());
    return made;
}

}  // namespace warren::ztunnel
