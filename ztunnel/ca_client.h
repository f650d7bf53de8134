// SPDX-License-Identifier: Apache-2.0
// CaClient: certificates from an IstioCertificateService (data-plane contract 2.1 to 2.4, 2.6, transport 3.7). One channel, built anew when
// the roots changed; when that fails the old one stays, and the next request tries again.
//
// Any thread, several calls at once; sign() blocks until its deadline. Errors: Denied when the service refuses the caller, Timeout,
// Unavailable when it cannot be reached, Invalid when it answers with something that is not the certificate asked for. Tokens are read for
// each request and never logged. gRPC stays in the .cpp.
#pragma once

#include "agent/xds/auth_source.h"
#include "agent/xds/node_proof.h"
#include "base/result.h"
#include "ztunnel/cert_store.h"
#include "ztunnel/watched_roots.h"

#include <chrono>
#include <memory>
#include <string>

namespace warren::ztunnel {

struct CaClientOptions {
    std::string address;           // CA_ADDRESS
    std::string alternative_host;  // ALT_CA_HOSTNAME
    std::unique_ptr<WatchedRoots> roots;
    xds::TokenSource token;
    xds::NodeProofSource proof = {};  // a certificate of the node, to show besides
    std::string cluster_id;
    xds::Headers headers;                                    // CA_HEADER_*, names in lower case
    std::chrono::seconds lifetime = std::chrono::hours(24);  // SECRET_TTL
    bool impersonate = true;  // shared mode: name the workload. False: the service uses the caller's own identity
};

class CaClient final : public CertSigner {
  public:
    struct Stats {
        uint64_t requests = 0;
        uint64_t failures = 0;
        uint64_t channels = 0;          // built, the first one too
        uint64_t rebuild_failures = 0;  // the old channel stayed
    };
    // Errors name the setting at fault.
    static base::Result<std::unique_ptr<CaClient>> create(CaClientOptions options);
    ~CaClient() override;

    base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity& identity,
                                                         std::chrono::steady_clock::time_point deadline) override;
    // Ends calls in flight and refuses later ones: before the store that calls is destroyed.
    void stop();
    // The roots or the node's certificate did: the next request builds the channel anew.
    void roots_changed();
    [[nodiscard]] Stats stats() const;

  private:
    struct Impl;
    explicit CaClient(std::unique_ptr<Impl> impl);
    const std::unique_ptr<Impl> impl_;
};

}  // namespace warren::ztunnel
