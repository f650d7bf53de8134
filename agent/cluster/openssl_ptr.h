// SPDX-License-Identifier: Apache-2.0
// One owner for each OpenSSL handle, OpenSSL's error queue as text, and PEM in and out. Private to the .cpp files of the certificate
// service: no header that others include may include this one. Stateless; the error queue is the calling thread's. Keys are cleared by
// OpenSSL when their last owner goes; PEM texts of keys are the caller's to wipe.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace warren::cluster {

template <auto Free>
struct OpensslFree {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
inline void free_names(GENERAL_NAMES* names) noexcept { GENERAL_NAMES_free(names); }
inline void free_certificates(STACK_OF(X509) * chain) noexcept { sk_X509_free(chain); }

using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using BorrowedChainPtr = std::unique_ptr<STACK_OF(X509), OpensslFree<free_certificates>>;  // the stack, not what is on it
using X509CrlPtr = std::unique_ptr<X509_CRL, OpensslFree<X509_CRL_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<free_names>>;
using Asn1TimePtr = std::unique_ptr<ASN1_TIME, OpensslFree<ASN1_TIME_free>>;
using Asn1IntegerPtr = std::unique_ptr<ASN1_INTEGER, OpensslFree<ASN1_INTEGER_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;

// The oldest entry of the thread's error queue, which is the cause; the queue is emptied.
[[nodiscard]] std::string openssl_reason();
[[nodiscard]] base::Error openssl_error(const char* where);

// What was written to a memory BIO.
[[nodiscard]] std::string bio_text(BIO* bio);

// Every CERTIFICATE of the text in order; other blocks are skipped. One that does not parse is an error, none is an empty list.
[[nodiscard]] base::Result<std::vector<X509Ptr>> read_certificates(std::string_view pem);
// The first private key of the text, without a password.
[[nodiscard]] base::Result<KeyPtr> read_private_key(std::string_view pem);

[[nodiscard]] std::string to_pem(X509* certificate);
[[nodiscard]] std::string to_pem(X509_CRL* list);
[[nodiscard]] std::string to_pem(EVP_PKEY* key);  // PKCS#8, not encrypted; wipe after use

[[nodiscard]] base::Result<base::WallTime> time_of(const ASN1_TIME* time);
[[nodiscard]] bool set_time(ASN1_TIME* field, base::WallTime time);
// Upper-case hex, as `openssl x509 -serial` prints it.
[[nodiscard]] std::string serial_hex(const ASN1_INTEGER* serial);
// The URI names in order that are printable ASCII without spaces.
[[nodiscard]] std::vector<std::string> uri_names(X509* certificate);
[[nodiscard]] bool self_signed(X509* certificate);

}  // namespace warren::cluster
