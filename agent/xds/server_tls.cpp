// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/server_tls.h"

#include "base/bytes.h"

#include <grpc/grpc.h>

#include <string_view>
#include <utility>

namespace warren::xds {

namespace {

class ReloadableCredentials final : public grpc::ServerCredentials {
  public:
    ReloadableCredentials(std::shared_ptr<const TlsMaterial> material, bool ask) : material_(std::move(material)) {
        const auto request = ask ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
        credentials_ = grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(request, &ReloadableCredentials::fetch, this));
    }
    ~ReloadableCredentials() override { grpc_server_credentials_release(credentials_); }
    ReloadableCredentials(const ReloadableCredentials&) = delete;
    ReloadableCredentials& operator=(const ReloadableCredentials&) = delete;

    void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

  private:
    int AddPortToServer(const std::string& address, grpc_server* server) override {
        return grpc_server_add_http2_port(server, address.c_str(), credentials_);
    }
    // gRPC calls it under a lock of the listener, and keeps what it has when told so or when the new one is unusable.
    static grpc_ssl_certificate_config_reload_status fetch(void* self, grpc_ssl_server_certificate_config** config) {
        auto& me = *static_cast<ReloadableCredentials*>(self);
        ServerTls tls;
        if (!me.material_->newer_than(me.seen_, tls)) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
        const grpc_ssl_pem_key_cert_pair pair{tls.key.c_str(), tls.chain.c_str()};
        // gRPC insists on roots even where no client is asked for a certificate; nothing is verified against them then.
        const std::string& roots = tls.client_roots.empty() ? tls.chain : tls.client_roots;
        *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
        base::wipe(tls.key);
        return *config == nullptr ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }

    const std::shared_ptr<const TlsMaterial> material_;
    uint64_t seen_ = 0;
    grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

base::Result<void> check_tls(const ServerTls& tls) {
    constexpr std::string_view kCertificate = "-----BEGIN CERTIFICATE-----";
    if (tls.chain.find(kCertificate) == std::string::npos) return base::invalid("the server's certificate chain has no PEM certificate");
    if (tls.key.find("PRIVATE KEY-----") == std::string::npos) return base::invalid("the server's key is no PEM private key");
    if (!tls.client_roots.empty() && tls.client_roots.find(kCertificate) == std::string::npos)
        return base::invalid("the roots of clients have no PEM certificate");
    return {};
}

TlsMaterial::~TlsMaterial() { base::wipe(tls_.key); }

void TlsMaterial::set(ServerTls tls) {
    const std::lock_guard lock(mutex_);
    std::swap(tls_, tls);
    ++version_;
    base::wipe(tls.key);
}

bool TlsMaterial::newer_than(uint64_t& seen, ServerTls& out) const {
    const std::lock_guard lock(mutex_);
    if (std::exchange(seen, version_) == version_) return false;
    out = tls_;
    return true;
}

std::shared_ptr<grpc::ServerCredentials> reloadable_credentials(std::shared_ptr<const TlsMaterial> material, bool ask_for_certificates) {
    return std::make_shared<ReloadableCredentials>(std::move(material), ask_for_certificates);
}

}  // namespace warren::xds
