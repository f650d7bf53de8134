// SPDX-License-Identifier: Apache-2.0
// TlsContext: a workload's certificate, key, trust anchors and revocation list, ready for handshakes. Immutable: a renewed certificate,
// a rotated root or a reloaded list makes a new one; connections keep theirs (data-plane contract 4.4, 4.6). Shared by all workers.
// OpenSSL types stay inside.
#pragma once

#include "base/result.h"
#include "policy/identity.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

// A certificate with everything that came with it, as PEM. Keys are wiped when the last copy goes.
class Credential;

// Revocation lists in force; see crl.h.
class RevocationList;

struct TlsSettings {
    bool tls12 = false;              // TLS12_ENABLED
    bool post_quantum_only = false;  // COMPLIANCE_POLICY=pqc
    policy::TrustDomains trust_domains;
    uint64_t rekey_records = uint64_t{1} << 24;  // records under one key; RFC 8446 5.5 allows 2^24.5 for AES-GCM
};

class TlsContext {
  public:
    static base::Result<std::shared_ptr<const TlsContext>> create(std::shared_ptr<const Credential> credential,
                                                                  std::shared_ptr<const RevocationList> revoked,
                                                                  const TlsSettings& settings);
    virtual ~TlsContext() = default;
    // Is this chain (DER, leaf first) still acceptable under the roots and the revocation list of this context, at the time given?
    // For live connections after a reload or a root rotation.
    [[nodiscard]] virtual base::Result<void> recheck(const std::vector<std::string>& chain_der,
                                                     std::chrono::system_clock::time_point established) const = 0;
    [[nodiscard]] virtual const Credential& credential() const = 0;
};

}  // namespace warren::ztunnel
