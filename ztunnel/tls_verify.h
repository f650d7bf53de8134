// SPDX-License-Identifier: Apache-2.0
// What a peer's certificate must show (data-plane contract 4.4): a chain to an anchor of the own certificate, valid now, extended key
// usage fitting where it has one, not revoked, and a SPIFFE name: on the client side one of the expected identities, on the server side one
// of our trust domain. DNS names never count. Pure functions over immutable things, any thread. Private to the TLS files.
#pragma once

#include "base/result.h"
#include "policy/identity.h"
#include "ztunnel/certificate_text.h"
#include "ztunnel/crl.h"
#include "ztunnel/tls_session.h"

#include <span>
#include <string>
#include <vector>

namespace warren::ztunnel {

// The anchors, ready for OpenSSL.
[[nodiscard]] base::Result<X509StorePtr> make_anchor_store(const std::vector<X509Ptr>& roots);
// Verifies what `ctx` was set up for. The error names the certificate and the reason.
base::Result<void> verify_chain(X509_STORE_CTX* ctx);
// Of a verified `ctx`: is a certificate of its chain on a list? Null: there are no lists.
base::Result<void> refuse_revoked(X509_STORE_CTX* ctx, const RevocationList* revoked);
base::Result<void> check_revoked(const RevocationList& lists, STACK_OF(X509) * chain);

base::Result<void> check_server_names(X509* leaf, std::span<const policy::Identity> expected);
base::Result<void> check_client_names(X509* leaf, const policy::Identity& own, const policy::TrustDomains& trusted);
// The first URI SAN that parses; empty when there is none.
[[nodiscard]] policy::Identity first_identity(X509* leaf);

}  // namespace warren::ztunnel
