// SPDX-License-Identifier: Apache-2.0
// The TLS credentials of the controller's gRPC port (Kubernetes contract 4.1): a certificate of the authority's own with the control
// plane's DNS names, renewed at half its life and whenever trust changes. gRPC asks for it at each handshake, so connections that stand are
// not touched. Client certificates are asked for, not required, and checked against the authority's roots; what they are good for is the
// Authenticator's to say. The key never leaves memory.
//
// credentials() is for whoever builds the server; current() for any thread. This, the authority and the clock outlive the server: gRPC
// keeps a pointer to ask with.
#pragma once

#include "agent/cluster/authority.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace grpc {
class ServerCredentials;
}

namespace warren::cluster {

struct ServingOptions {
    std::vector<std::string> dns;  // at least one
    std::chrono::seconds lifetime = std::chrono::hours(24 * 7);
};

class ServingCertificate {
  public:
    struct Material {
        Authority::Identity identity;
        std::string roots_pem;
        uint64_t trust_version = 0;
        uint64_t serial = 0;  // counts up: another number, another certificate
        ~Material();
    };
    // Errors are the authority's: a name that cannot stand in a certificate.
    [[nodiscard]] static base::Result<std::unique_ptr<ServingCertificate>> create(const Authority& authority, ServingOptions options,
                                                                                  const base::Clock& clock);
    ~ServingCertificate();
    ServingCertificate(const ServingCertificate&) = delete;
    ServingCertificate& operator=(const ServingCertificate&) = delete;

    // A fresh one when it is time; the one before as long as none can be made.
    [[nodiscard]] std::shared_ptr<const Material> current();
    // For grpc::ServerBuilder::AddListeningPort. TLS 1.3 alone needs restrict_grpc_to_tls13() (agent/xds/channel.h) in main.
    [[nodiscard]] std::shared_ptr<grpc::ServerCredentials> credentials();

    struct Port;  // one set of credentials, and what gRPC has been given for it

  private:
    ServingCertificate(const Authority& authority, ServingOptions options, const base::Clock& clock);
    base::Result<void> renew();

    const Authority& authority_;
    const ServingOptions options_;
    const base::Clock& clock_;
    std::mutex mutex_;  // all below
    std::shared_ptr<const Material> material_;
    std::vector<std::unique_ptr<Port>> ports_;
};

}  // namespace warren::cluster
