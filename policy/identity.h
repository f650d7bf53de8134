// SPDX-License-Identifier: Apache-2.0
// Identity: who a workload is, as SPIFFE writes it: spiffe://<trust domain>/ns/<namespace>/sa/<service account>
// (data-plane contract 0). A value; the text form without its scheme ("principal", what policies compare) is kept with its hash,
// so a decision compares integers. Made once per certificate, not per connection.
#pragma once

#include "base/result.h"
#include "policy/text.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::policy {

class Identity {
  public:
    Identity() = default;
    Identity(std::string_view trust_domain, std::string_view ns, std::string_view service_account);

    // Must start with spiffe:// and split at '/' into exactly five parts, the second "ns", the fourth "sa". Parts may be empty.
    static base::Result<Identity> parse(std::string_view uri);

    [[nodiscard]] std::string_view trust_domain() const noexcept { return principal_.view().substr(0, domain_size_); }
    [[nodiscard]] std::string_view ns() const noexcept { return principal_.view().substr(ns_begin_, ns_size_); }
    [[nodiscard]] std::string_view service_account() const noexcept { return principal_.view().substr(account_begin_); }
    // "td/ns/x/sa/y": the text that principals in policies are compared with.
    [[nodiscard]] const Text& principal() const noexcept { return principal_; }
    [[nodiscard]] uint64_t ns_hash() const noexcept { return ns_hash_; }
    // Hash of namespace and account without the trust domain, for service_accounts lists.
    [[nodiscard]] uint64_t account_hash() const noexcept { return account_hash_; }
    [[nodiscard]] std::string uri() const;
    [[nodiscard]] bool empty() const noexcept { return principal_.empty(); }

    friend bool operator==(const Identity& a, const Identity& b) noexcept { return a.principal_ == b.principal_; }

  private:
    Text principal_;
    uint64_t ns_hash_ = 0;
    uint64_t account_hash_ = 0;
    uint32_t domain_size_ = 0;
    uint32_t ns_begin_ = 0;
    uint32_t ns_size_ = 0;
    uint32_t account_begin_ = 0;
};

[[nodiscard]] uint64_t hash_account(std::string_view ns, std::string_view service_account) noexcept;

// Trust domains that count as ours when a peer's certificate is checked. The reference has none beside its own (contract 4.4);
// an admin who migrates between domains may name more. Policies still compare the text the certificate carries.
class TrustDomains {
  public:
    TrustDomains() = default;
    explicit TrustDomains(std::vector<std::string> aliases) : aliases_(std::move(aliases)) {}
    // Is `domain` the own one or one of its aliases?
    [[nodiscard]] bool accepts(std::string_view own, std::string_view domain) const;

  private:
    std::vector<std::string> aliases_;
};

}  // namespace warren::policy
