// SPDX-License-Identifier: Apache-2.0
// LocalSigner: an authority in this process, for labs and tests without a certificate service (WARREN_LOCAL_CA=DIR with ca.pem and ca.key,
// RSA or EC). It signs for whatever identity it is asked: whoever reads the directory is every workload. Says so once in the log.
//
// Immutable after load(); sign() may run on many threads. The authority's key stays in OpenSSL's memory and is never printed.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "ztunnel/cert_store.h"

#include <chrono>
#include <memory>
#include <string>

namespace warren::ztunnel {

struct LocalSignerOptions {
    std::chrono::seconds lifetime = std::chrono::hours(24);
    std::chrono::seconds backdate = std::chrono::minutes(2);  // for peers whose clocks are behind
};

class LocalSigner final : public CertSigner {
  public:
    // Errors name the file: missing, not an authority, key of another certificate. The clock outlives this.
    static base::Result<std::unique_ptr<LocalSigner>> load(const std::string& directory, const base::Clock& clock,
                                                           LocalSignerOptions options);
    ~LocalSigner() override;

    // Never past the end of the authority's own certificate; the chain is the leaf and that certificate.
    base::Result<std::shared_ptr<const Credential>> sign(const policy::Identity& identity,
                                                         std::chrono::steady_clock::time_point deadline) override;

  private:
    struct Authority;
    LocalSigner(std::unique_ptr<const Authority> authority, const base::Clock& clock, LocalSignerOptions options);

    const std::unique_ptr<const Authority> authority_;
    const base::Clock& clock_;
    const LocalSignerOptions options_;
};

}  // namespace warren::ztunnel
