// SPDX-License-Identifier: Apache-2.0
// Certificates, keys, requests and revocation lists composed and read with OpenSSL (Kubernetes contract 4.4; RFC 5280, RFC 2986). Private
// to the certificate service. Pure but for the random numbers; any thread. Times are wall clock.
#pragma once

#include "agent/cluster/authority_types.h"
#include "agent/cluster/certificate_text.h"

#include <cstdint>
#include <set>

namespace warren::cluster {

[[nodiscard]] base::Result<KeyPtr> make_key(KeyKind kind);
// EC P-256, P-384, P-521 or RSA of 2048 to 8192 bits: what the tunnels verify, and no key that makes verifying it a burden.
[[nodiscard]] base::Result<void> check_key(EVP_PKEY* key);

// One PKCS#10 request in PEM whose signature is its own key's; only that key is taken from it. Anything else is Invalid, and says why.
inline constexpr size_t kMaxRequestBytes = 16UL * 1024;
[[nodiscard]] base::Result<KeyPtr> key_of_request(std::string_view csr_pem);

struct AuthoritySpec {
    std::string organization, name;
    base::WallTime not_before, not_after;
};
// A self-signed root, or an intermediate that signs leafs only.
[[nodiscard]] base::Result<X509Ptr> make_root(const AuthoritySpec& spec, EVP_PKEY* key);
[[nodiscard]] base::Result<X509Ptr> make_intermediate(const AuthoritySpec& spec, EVP_PKEY* key, X509* root, EVP_PKEY* root_key);

struct LeafSpec {
    const Subject* subject = nullptr;
    base::WallTime not_before, not_after;
};
// Serial: 126 random bits under a set one, so always 16 bytes and positive.
[[nodiscard]] base::Result<X509Ptr> make_leaf(const LeafSpec& spec, EVP_PKEY* leaf_key, X509* issuer, EVP_PKEY* issuer_key);

struct ListSpec {
    const std::set<std::string>* serials = nullptr;  // upper-case hex
    base::WallTime this_update, next_update;
    uint64_t number = 0;
};
[[nodiscard]] base::Result<X509CrlPtr> make_list(const ListSpec& spec, X509* issuer, EVP_PKEY* issuer_key);

}  // namespace warren::cluster
