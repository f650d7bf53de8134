// SPDX-License-Identifier: Apache-2.0
// Credential: a leaf certificate with its key, intermediates and the roots that came with it (data-plane contract 2.3, 2.4).
// Immutable, shared by reference; the key lives in memory only, is wiped on release and never printed.
#pragma once

#include "base/result.h"
#include "policy/identity.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

struct CertificateInfo {
    std::string pem;
    std::string serial_decimal;
    std::chrono::system_clock::time_point not_before;
    std::chrono::system_clock::time_point not_after;
};

class Credential {
  public:
    // chain_pem: elements as the certificate service answers them: leaf first (first certificate of that text), one intermediate an
    // element, last the root bundle with one or several certificates. key_pem: PKCS#8 or SEC1. Checks that key and leaf belong together.
    static base::Result<std::shared_ptr<const Credential>> parse(const std::vector<std::string>& chain_pem, std::string key_pem);
    // As files: PEM chain (leaf, intermediates), key, roots.
    static base::Result<std::shared_ptr<const Credential>> parse_files(const std::string& chain_path, const std::string& key_path,
                                                                       const std::string& roots_path);
    virtual ~Credential() = default;

    [[nodiscard]] virtual const policy::Identity& identity() const = 0;           // the leaf's first URI SAN; empty when it is not SPIFFE
    [[nodiscard]] virtual const std::vector<CertificateInfo>& chain() const = 0;  // leaf first, without roots
    [[nodiscard]] virtual const std::vector<CertificateInfo>& roots() const = 0;
    // Roots of the bundle that did not parse and were left out (contract 2.4 item 7): for a warning.
    [[nodiscard]] virtual size_t skipped_roots() const = 0;
    [[nodiscard]] std::chrono::system_clock::time_point not_before() const { return chain().front().not_before; }
    [[nodiscard]] std::chrono::system_clock::time_point not_after() const { return chain().front().not_after; }
    // Half of the lifetime after not_before (contract 2.5).
    [[nodiscard]] std::chrono::system_clock::time_point renew_at() const;
};

// A fresh ECDSA P-256 key and the request for it: empty subject, one critical SubjectAltName with the SPIFFE URI (contract 2.3).
struct CertificateRequest {
    std::string csr_pem;
    std::string key_pem;  // PKCS#8; wipe after use
    CertificateRequest() = default;
    CertificateRequest(CertificateRequest&&) = default;
    CertificateRequest& operator=(CertificateRequest&&) = default;
    ~CertificateRequest();
};
[[nodiscard]] base::Result<CertificateRequest> make_certificate_request(const policy::Identity& identity);

}  // namespace warren::ztunnel
