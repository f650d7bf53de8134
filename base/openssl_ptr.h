// SPDX-License-Identifier: Apache-2.0
// One owner for each OpenSSL handle, OpenSSL's error queue as text, and what both ends of a certificate need of it. Only for files whose
// business is OpenSSL: no header that others include may include this one. Stateless; the error queue is the calling thread's. OpenSSL
// clears keys when their last owner goes.
#pragma once

#include "base/result.h"

#include <memory>
#include <string>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace warren::base::openssl {

template <auto Free>
struct OpensslFree {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
inline void free_names(GENERAL_NAMES* names) noexcept { GENERAL_NAMES_free(names); }
inline void free_chain(STACK_OF(X509) * chain) noexcept { sk_X509_pop_free(chain, X509_free); }
inline void free_stack(STACK_OF(X509) * chain) noexcept { sk_X509_free(chain); }

using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using X509ChainPtr = std::unique_ptr<STACK_OF(X509), OpensslFree<free_chain>>;
using BorrowedChainPtr = std::unique_ptr<STACK_OF(X509), OpensslFree<free_stack>>;  // the stack, not what is on it
using X509CrlPtr = std::unique_ptr<X509_CRL, OpensslFree<X509_CRL_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<free_names>>;
using Asn1TimePtr = std::unique_ptr<ASN1_TIME, OpensslFree<ASN1_TIME_free>>;
using Asn1IntegerPtr = std::unique_ptr<ASN1_INTEGER, OpensslFree<ASN1_INTEGER_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using CipherCtxPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<EVP_CIPHER_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslFree<EVP_CIPHER_free>>;

// The oldest entry of the thread's error queue, which is the cause; the queue is emptied. "no reason given" when it is empty.
[[nodiscard]] std::string openssl_reason();
[[nodiscard]] Error openssl_error(const char* where);

// What was written to a memory BIO.
[[nodiscard]] std::string bio_text(BIO* bio);
[[nodiscard]] std::string to_pem(X509* certificate);
// URI SANs in order, printable ASCII without spaces only: a zero byte or a line break in a name has no honest use, others are no identity.
[[nodiscard]] std::vector<std::string> uri_names(X509* certificate);

}  // namespace warren::base::openssl
