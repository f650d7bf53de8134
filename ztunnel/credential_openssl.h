// SPDX-License-Identifier: Apache-2.0
// The only kind of Credential there is, with OpenSSL's forms of what it holds. Private to the TLS files; immutable, any thread.
#pragma once

#include "ztunnel/certificate_text.h"
#include "ztunnel/credential.h"

#include <utility>

namespace warren::ztunnel {

class OpensslCredential final : public Credential {
  public:
    struct Parts {
        std::vector<X509Ptr> chain;  // leaf first
        std::vector<X509Ptr> roots;
        size_t skipped_roots = 0;
        KeyPtr key;
    };
    static base::Result<std::shared_ptr<const Credential>> create(Parts parts);
    explicit OpensslCredential(Parts parts) : parts_(std::move(parts)) {}

    [[nodiscard]] const policy::Identity& identity() const override { return identity_; }
    [[nodiscard]] const std::vector<CertificateInfo>& chain() const override { return chain_; }
    [[nodiscard]] const std::vector<CertificateInfo>& roots() const override { return roots_; }
    [[nodiscard]] size_t skipped_roots() const override { return parts_.skipped_roots; }
    [[nodiscard]] const Parts& parts() const { return parts_; }

  private:
    Parts parts_;
    policy::Identity identity_;
    std::vector<CertificateInfo> chain_, roots_;
};

}  // namespace warren::ztunnel
