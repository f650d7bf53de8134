// SPDX-License-Identifier: Apache-2.0
// RevocationLists: what an agent has to know of certificate revocation lists that it passes on to the tunnel: that they read, how old they
// are, and whether they take a revocation back that others of the same issuer, made later, hold. It does not look at signatures: they came
// over the control plane's own TLS, and the tunnel checks a list against the issuer before it counts. Pure, any thread.
#pragma once

#include "base/clock.h"
#include "base/openssl_ptr.h"
#include "base/result.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

class RevocationLists {
  public:
    RevocationLists() = default;  // none
    // PEM, nothing but lists; an empty text has none. At most kMaxBytes.
    static base::Result<RevocationLists> parse(std::string_view pem);

    [[nodiscard]] size_t size() const { return lists_.size(); }
    [[nodiscard]] size_t serials() const;
    [[nodiscard]] base::WallTime issued() const;  // of the youngest; zero without one
    // What these give back although they are older than `before`: the issuer and a serial, for people.
    [[nodiscard]] std::optional<std::string> takes_back(const RevocationLists& before) const;

    static constexpr size_t kMaxBytes = size_t{16} << 20;  // some 300,000 serials

  private:
    std::vector<base::openssl::X509CrlPtr> lists_;
};

}  // namespace warren::node
