// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/serving.h"

#include "base/bytes.h"
#include "base/log.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

namespace warren::cluster {

struct ServingCertificate::Port {
    ServingCertificate* of = nullptr;
    std::mutex mutex;
    uint64_t given = 0;  // under the lock: serial of what gRPC has
};

namespace {

const base::log::Area kLog("ca");

// At the start and at each handshake, from gRPC's threads.
grpc_ssl_certificate_config_reload_status fetch(void* data, grpc_ssl_server_certificate_config** config) {
    auto& port = *static_cast<ServingCertificate::Port*>(data);
    const auto material = port.of->current();
    const std::lock_guard lock(port.mutex);
    if (material->serial == port.given) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{material->identity.key_pem.c_str(), material->identity.chain_pem.c_str()};
    *config = grpc_ssl_server_certificate_config_create(material->roots_pem.c_str(), &pair, 1);
    if (*config == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    port.given = material->serial;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

// grpc::SslServerCredentials takes one certificate for ever and the certificate providers of gRPC 1.51 only files; the C interface has the
// callback that fits. AddPortToServer is the one thing a server asks of its credentials. A server keeps the C credentials beyond this
// object's life, so what they point to is the ServingCertificate's.
class FetchingCredentials final : public grpc::ServerCredentials {
  public:
    explicit FetchingCredentials(ServingCertificate::Port* port)
        : credentials_(grpc_ssl_server_credentials_create_with_options(grpc_ssl_server_credentials_create_options_using_config_fetcher(
              GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY, &fetch, port))) {}
    ~FetchingCredentials() override { grpc_server_credentials_release(credentials_); }
    FetchingCredentials(const FetchingCredentials&) = delete;
    FetchingCredentials& operator=(const FetchingCredentials&) = delete;

    void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

  private:
    int AddPortToServer(const std::string& address, grpc_server* server) override {
        return grpc_server_add_http2_port(server, address.c_str(), credentials_);
    }
    grpc_server_credentials* const credentials_;
};

}  // namespace

ServingCertificate::ServingCertificate(const Authority& authority, ServingOptions options, const base::Clock& clock)
    : authority_(authority), options_(std::move(options)), clock_(clock) {}
ServingCertificate::~ServingCertificate() = default;

ServingCertificate::Material::~Material() { base::wipe(identity.key_pem); }

base::Result<std::unique_ptr<ServingCertificate>> ServingCertificate::create(const Authority& authority, ServingOptions options,
                                                                             const base::Clock& clock) {
    std::unique_ptr<ServingCertificate> made(new ServingCertificate(authority, std::move(options), clock));
    TRY(made->renew());
    return made;
}

// Under the lock, or before anybody else has it.
base::Result<void> ServingCertificate::renew() {
    auto made = std::make_shared<Material>();
    const auto trust = authority_.trust();
    made->identity = TRY(authority_.make_server(options_.dns, options_.lifetime));
    made->roots_pem = trust->roots_pem;
    made->trust_version = trust->version;
    made->serial = material_ ? material_->serial + 1 : 1;
    material_ = std::move(made);
    return {};
}

std::shared_ptr<const ServingCertificate::Material> ServingCertificate::current() {
    const std::lock_guard lock(mutex_);
    const auto& identity = material_->identity;
    const bool old = clock_.wall() >= identity.not_before + (identity.not_after - identity.not_before) / 2;
    if (old || authority_.trust()->version != material_->trust_version) {
        if (const auto renewed = renew(); !renewed)
            WARREN_LOG(kLog, base::log::Level::Error, "the control plane's own certificate is not renewed",
                       {"error", renewed.error().message()});
    }
    return material_;
}

std::shared_ptr<grpc::ServerCredentials> ServingCertificate::credentials() {
    auto port = std::make_unique<Port>();
    port->of = this;
    auto made = std::make_shared<FetchingCredentials>(port.get());
    const std::lock_guard lock(mutex_);
    ports_.push_back(std::move(port));
    return made;
}

}  // namespace warren::cluster
