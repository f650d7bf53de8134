// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_context.h"

#include "ztunnel/tls_context_openssl.h"
#include "ztunnel/tls_handshake.h"
#include "ztunnel/tls_library.h"
#include "ztunnel/tls_verify.h"

#include <openssl/err.h>

namespace warren::ztunnel {

namespace {

constexpr unsigned char kAlpn[] = {2, 'h', '2'};
constexpr long kMaxPeerChain = 32 * 1024;

base::Result<void> set_groups(SSL_CTX* ctx, bool post_quantum_only) {
    if (post_quantum_only) {
        if (SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768") == 1) return {};
        ERR_clear_error();
        return base::Error{
            base::Errc::Unsupported, 0, "post-quantum key exchange",
            std::string(OpenSSL_version(OPENSSL_VERSION)) + " has no X25519MLKEM768 (OpenSSL 3.5 has); unset COMPLIANCE_POLICY=pqc"};
    }
    if (SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:X25519:P-256:P-384") == 1) return {};
    ERR_clear_error();
    if (SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1) return {};
    return openssl_error("key exchange groups");
}

base::Result<void> set_certificate(SSL_CTX* ctx, const OpensslCredential::Parts& parts) {
    // The chain is what came with the leaf; nothing is looked up in the anchors, so that the root is not sent.
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    if (SSL_CTX_use_certificate(ctx, parts.chain.front().get()) != 1) return openssl_error("own certificate");
    for (size_t i = 1; i < parts.chain.size(); ++i)
        if (SSL_CTX_add1_chain_cert(ctx, parts.chain[i].get()) != 1) return openssl_error("own certificate chain");
    if (SSL_CTX_use_PrivateKey(ctx, parts.key.get()) != 1) return openssl_error("own private key");
    return {};
}

bool set_suites(SSL_CTX* ctx, TlsRole role) {
    // As a server we take AES-128 where the client has it: the same security level as P-256 and X25519, and less work without VAES.
    const char* suites =
        role == TlsRole::Client ? "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256" : "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    return SSL_CTX_set_ciphersuites(ctx, suites) == 1 &&
           SSL_CTX_set_cipher_list(ctx,
                                   "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
                                   "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256") == 1;
}

}  // namespace

base::Result<SslCtxPtr> OpensslContext::make(TlsRole role) const {
    ERR_clear_error();
    SslCtxPtr owner(SSL_CTX_new_ex(tls_library(), nullptr, TLS_method()));
    if (!owner) return openssl_error("TLS context");
    SSL_CTX* ctx = owner.get();
    SSL_CTX_set_security_level(ctx, 2);  // RSA 2048 and better, no SHA-1, whatever the machine's own file says
    if (SSL_CTX_set_min_proto_version(ctx, settings_.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 || !set_suites(ctx, role))
        return openssl_error("TLS versions and suites");
    TRY(set_groups(ctx, settings_.post_quantum_only));
    TRY(set_certificate(ctx, static_cast<const OpensslCredential&>(*credential_).parts()));

    // No resumption: every connection proves its certificate (contract 4.4).
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_num_tickets(ctx, 0) != 1) return openssl_error("session tickets");
    SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);  // no middlebox reads traffic between nodes
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(ctx, kMaxPeerChain);

    SSL_CTX_set1_cert_store(ctx, anchors_.get());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    TlsHandshake::set_callbacks(ctx);
    if (role == TlsRole::Client && SSL_CTX_set_alpn_protos(ctx, kAlpn, sizeof kAlpn) != 0) return openssl_error("ALPN");
    return owner;
}

base::Result<void> OpensslContext::init() {
    anchors_ = TRY(make_anchor_store(static_cast<const OpensslCredential&>(*credential_).parts().roots));
    client_ = TRY(make(TlsRole::Client));
    server_ = TRY(make(TlsRole::Server));
    return {};
}

base::Result<void> OpensslContext::recheck(const std::vector<std::string>& chain_der,
                                           std::chrono::system_clock::time_point established) const {
    if (chain_der.empty()) return base::Error{base::Errc::Denied, 0, "", "the connection has no certificate chain"};
    const X509ChainPtr chain(sk_X509_new_null());
    for (const std::string& der : chain_der) {
        X509Ptr certificate = TRY(parse_certificate(der));
        // Judged at the time of the handshake: a connection may outlive its certificate, plain expiry ends nothing.
        time_t at = std::chrono::system_clock::to_time_t(established);
        if (X509_cmp_time(X509_get0_notBefore(certificate.get()), &at) > 0 || X509_cmp_time(X509_get0_notAfter(certificate.get()), &at) < 0)
            return base::Error{base::Errc::Denied, 0, "",
                               "certificate of " + describe(certificate.get()) + " was not valid when the connection was made"};
        if (!chain || sk_X509_push(chain.get(), certificate.get()) <= 0) return openssl_error("certificate chain");
        certificate.release();
    }
    const X509StoreCtxPtr ctx(X509_STORE_CTX_new_ex(tls_library(), nullptr));
    if (!ctx || X509_STORE_CTX_init(ctx.get(), anchors_.get(), sk_X509_value(chain.get(), 0), chain.get()) != 1)
        return openssl_error("certificate chain");
    // Times were compared above; a root that was issued anew since may begin later than the connection.
    X509_STORE_CTX_set_flags(ctx.get(), X509_V_FLAG_NO_CHECK_TIME);
    TRY(verify_chain(ctx.get()));
    return refuse_revoked(ctx.get(), revoked_.get());
}

base::Result<std::shared_ptr<const TlsContext>> TlsContext::create(std::shared_ptr<const Credential> credential,
                                                                   std::shared_ptr<const RevocationList> revoked,
                                                                   const TlsSettings& settings) {
    if (!credential) return base::invalid("TLS context: there is no certificate");
    if (credential->identity().empty())
        return base::invalid(
            "TLS context: the first URI SAN of the certificate is no spiffe://<trust domain>/ns/<namespace>/sa/<account>, so no "
            "peer's trust domain could be compared with it");
    auto context = std::make_shared<OpensslContext>(std::move(credential), std::move(revoked), settings);
    TRY(context->init());
    return std::shared_ptr<const TlsContext>(std::move(context));
}

}  // namespace warren::ztunnel
