// SPDX-License-Identifier: Apache-2.0
// The only kind of TlsContext there is: one SSL_CTX a role over the same certificate and anchors. Private to the TLS files; immutable,
// any thread.
#pragma once

#include "ztunnel/certificate_text.h"
#include "ztunnel/credential_openssl.h"
#include "ztunnel/crl.h"
#include "ztunnel/tls_context.h"
#include "ztunnel/tls_session.h"
#include "ztunnel/verified_chains.h"

namespace warren::ztunnel {

class OpensslContext final : public TlsContext {
  public:
    OpensslContext(std::shared_ptr<const Credential> credential, std::shared_ptr<const RevocationList> revoked, TlsSettings settings)
        : credential_(std::move(credential)), revoked_(std::move(revoked)), settings_(std::move(settings)) {}
    base::Result<void> init();

    [[nodiscard]] base::Result<void> recheck(const std::vector<std::string>& chain_der,
                                             std::chrono::system_clock::time_point established) const override;
    [[nodiscard]] const Credential& credential() const override { return *credential_; }

    [[nodiscard]] SSL_CTX* ssl_ctx(TlsRole role) const { return role == TlsRole::Client ? client_.get() : server_.get(); }
    [[nodiscard]] VerifiedChains& verified(TlsRole role) const { return role == TlsRole::Client ? servers_ : clients_; }
    [[nodiscard]] const RevocationList* revoked() const { return revoked_.get(); }
    [[nodiscard]] const TlsSettings& settings() const { return settings_; }

  private:
    base::Result<SslCtxPtr> make(TlsRole role) const;
    std::shared_ptr<const Credential> credential_;
    std::shared_ptr<const RevocationList> revoked_;
    TlsSettings settings_;
    X509StorePtr anchors_;
    SslCtxPtr client_, server_;
    mutable VerifiedChains servers_, clients_;  // thread-safe
};

}  // namespace warren::ztunnel
