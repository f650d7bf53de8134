// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_verify.h"

#include "base/bytes.h"

#include <algorithm>

#include <openssl/err.h>

#include <cerrno>

namespace warren::ztunnel {

namespace {

constexpr int kMaxDepth = 8;  // intermediates; more is nobody's hierarchy

base::Error denied(std::string detail) { return {base::Errc::Denied, 0, "", std::move(detail)}; }

std::string list_of(std::span<const policy::Identity> identities) {
    constexpr size_t kShown = 4;
    std::string text;
    for (size_t i = 0; i < identities.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + base::quoted(identities[i].uri());
    if (identities.size() > kShown) text += " and " + std::to_string(identities.size() - kShown) + " more";
    return text;
}

std::vector<policy::Identity> identities_of(X509* leaf) {
    std::vector<policy::Identity> found;
    for (const std::string& uri : uri_names(leaf))
        if (auto identity = policy::Identity::parse(uri)) found.push_back(std::move(identity).value());
    return found;
}

// OpenSSL takes the first anchor with the issuer's name, and fails when its key did not sign. Two roots of a rotation may have one name,
// and nothing in what they signed need tell which (RFC 5280 4.2.1.1 lets a key identifier be left out); so the signature decides. Not
// among what the peer sent: it could send many of one name, and each would cost a verification.
int anchor_signed(X509_STORE_CTX* ctx, X509* subject, X509* issuer) {
    if (X509_check_issued(issuer, subject) != X509_V_OK) return 0;
    const STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(ctx);
    for (int i = 0; i < sk_X509_num(sent); ++i)
        if (sk_X509_value(sent, i) == issuer) return 1;
    const bool signature = X509_verify(subject, X509_get0_pubkey(issuer)) == 1;
    ERR_clear_error();
    return signature ? 1 : 0;
}

}  // namespace

base::Result<X509StorePtr> make_anchor_store(const std::vector<X509Ptr>& roots) {
    X509StorePtr store(X509_STORE_new());
    if (!store) return openssl_error("trust anchors");
    for (const X509Ptr& root : roots)
        if (X509_STORE_add_cert(store.get(), root.get()) != 1) return openssl_error("trust anchors");
    // Whatever the bundle holds is an anchor, self-signed or not.
    X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_set_depth(store.get(), kMaxDepth);
    X509_STORE_set_check_issued(store.get(), anchor_signed);
    return store;
}

base::Result<void> verify_chain(X509_STORE_CTX* ctx) {
    ERR_clear_error();
    if (X509_verify_cert(ctx) != 1) {
        const int code = X509_STORE_CTX_get_error(ctx);
        X509* subject = X509_STORE_CTX_get_current_cert(ctx);
        if (subject == nullptr) subject = X509_STORE_CTX_get0_cert(ctx);
        ERR_clear_error();
        if (subject == nullptr) return denied("the peer presented no certificate");
        std::string text = "certificate of " + describe(subject) + ": " + X509_verify_cert_error_string(code);
        if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
            code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
            text += "; its root is not among the trust anchors that came with the own certificate";
        return denied(std::move(text));
    }
    return {};
}

base::Result<void> refuse_revoked(X509_STORE_CTX* ctx, const RevocationList* revoked) {
    if (revoked == nullptr) return {};
    auto result = check_revoked(*revoked, X509_STORE_CTX_get0_chain(ctx));
    if (!result) result.error().os = EKEYREVOKED;  // told apart by whoever counts refusals
    if (!result) X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REVOKED);
    return result;
}

base::Result<void> check_server_names(X509* leaf, std::span<const policy::Identity> expected) {
    if (expected.empty()) return denied("no identity is expected of the server, so none is acceptable; it presented " + describe(leaf));
    for (const policy::Identity& identity : identities_of(leaf))
        if (std::find(expected.begin(), expected.end(), identity) != expected.end()) return {};
    return denied("expected " + list_of(expected) + ", the server presented " + describe(leaf));
}

base::Result<void> check_client_names(X509* leaf, const policy::Identity& own, const policy::TrustDomains& trusted) {
    for (const policy::Identity& identity : identities_of(leaf))
        if (trusted.accepts(own.trust_domain(), identity.trust_domain())) return {};
    return denied("expected an identity of trust domain " + base::quoted(own.trust_domain()) + " or an alias of it, the client presented " +
                  describe(leaf));
}

policy::Identity first_identity(X509* leaf) {
    auto found = identities_of(leaf);
    return found.empty() ? policy::Identity{} : std::move(found.front());
}

}  // namespace warren::ztunnel
