// SPDX-License-Identifier: Apache-2.0
// The OpenSSL library context of mesh TLS. For each certificate they read, OpenSSL 3.0 and 3.1 copy the list of all algorithms they know
// and ask every decoder whether the key is its own (d2i_X509: 77 us in a loop, 230 us in a busy tunnel, a third of a handshake; 3.2 keeps
// the answer). This context knows what TLS between workloads uses and no more. It implements nothing: each algorithm is the default
// provider's own. A certificate of another kind of key (DSA, SM2) does not verify, which refuses it.
//
// Where OpenSSL is newer, or the machine's configuration chose providers (FIPS), it is the library's default context. Thread-safe.
#pragma once

#include <openssl/types.h>

namespace warren::ztunnel {

// For X509_new_ex, SSL_CTX_new_ex and their like; null is the default context. Lives as long as the process.
[[nodiscard]] OSSL_LIB_CTX* tls_library();

}  // namespace warren::ztunnel
