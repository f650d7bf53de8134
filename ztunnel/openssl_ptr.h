// SPDX-License-Identifier: Apache-2.0
// One owner for each OpenSSL handle, and OpenSSL's error queue as text. Private to the TLS files of this folder: no header that others
// include may include this one. Stateless; the error queue is the calling thread's.
#pragma once

#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace warren::ztunnel {

template <auto Free>
struct OpensslFree {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
inline void free_name_list(GENERAL_NAMES* names) noexcept { GENERAL_NAMES_free(names); }
inline void free_chain(STACK_OF(X509) * chain) noexcept { sk_X509_pop_free(chain, X509_free); }

using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using X509ChainPtr = std::unique_ptr<STACK_OF(X509), OpensslFree<free_chain>>;
using X509CrlPtr = std::unique_ptr<X509_CRL, OpensslFree<X509_CRL_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<free_name_list>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using CipherCtxPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<EVP_CIPHER_CTX_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, OpensslFree<EVP_CIPHER_free>>;

// The oldest entry of the thread's error queue, which is the cause; the queue is emptied. "no reason given" when it is empty.
[[nodiscard]] std::string openssl_reason();
[[nodiscard]] base::Error openssl_error(const char* where);

struct PemBlock {
    std::string label;  // "CERTIFICATE"
    std::string der;
};
// Every well-formed PEM block in order; text between blocks is no error. `damaged` counts blocks that began and did not decode.
[[nodiscard]] std::vector<PemBlock> read_pem(std::string_view text, size_t& damaged);

// DER of exactly one certificate: trailing bytes are refused.
[[nodiscard]] base::Result<X509Ptr> parse_certificate(std::string_view der);
[[nodiscard]] std::string to_der(X509* certificate);
[[nodiscard]] std::string to_pem(X509* certificate);

// URI SANs in order, printable ASCII without spaces only; others are no identity and are left out.
[[nodiscard]] std::vector<std::string> uri_names(X509* certificate);
// For people: its URI SANs, or its subject when it has none.
[[nodiscard]] std::string describe(X509* certificate);

}  // namespace warren::ztunnel
