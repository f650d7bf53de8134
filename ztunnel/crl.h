// SPDX-License-Identifier: Apache-2.0
// RevocationList: the certificate revocation lists in force (RFC 5280 5, data-plane contract 4.4). Immutable, shared by all threads; a
// reloaded file makes a new one. The whole chain is looked up; a certificate no list speaks about is accepted, an expired list still
// counts.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace warren::ztunnel {

class RevocationList {
  public:
    // The content of the file: PEM with one or several lists (other blocks are skipped), or one DER list, or nothing at all, which
    // revokes nobody. Text without a list in it, a damaged list and trailing bytes are errors.
    static base::Result<std::shared_ptr<const RevocationList>> parse(std::string_view file);
    virtual ~RevocationList() = default;

    [[nodiscard]] virtual size_t lists() const = 0;
    // Is this certificate (DER) on some list? Cheap, for picking the connections worth a re-check: the list's signature is not looked at.
    [[nodiscard]] virtual bool mentions(std::string_view certificate_der) const = 0;
};

}  // namespace warren::ztunnel
