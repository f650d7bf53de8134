// SPDX-License-Identifier: Apache-2.0
#include "policy/identity.h"

#include "base/bytes.h"

#include <algorithm>
#include <array>

namespace warren::policy {

uint64_t hash_account(std::string_view ns, std::string_view service_account) noexcept {
    return hash_text(ns) * 0x9e3779b97f4a7c15u ^ hash_text(service_account);
}

Identity::Identity(std::string_view trust_domain, std::string_view ns, std::string_view service_account) {
    std::string text;
    text.reserve(trust_domain.size() + ns.size() + service_account.size() + 8);
    text.append(trust_domain).append("/ns/").append(ns).append("/sa/").append(service_account);
    principal_ = Text(text);
    domain_size_ = static_cast<uint32_t>(trust_domain.size());
    ns_begin_ = domain_size_ + 4;
    ns_size_ = static_cast<uint32_t>(ns.size());
    account_begin_ = ns_begin_ + ns_size_ + 4;
    ns_hash_ = hash_text(ns);
    account_hash_ = hash_account(ns, service_account);
}

base::Result<Identity> Identity::parse(std::string_view uri) {
    constexpr std::string_view scheme = "spiffe://";
    auto refuse = [&](const char* why) {
        // Foreign text: it must not break the line it ends up in.
        return base::invalid("SPIFFE identity " + base::quoted(uri.substr(0, 200)) + ' ' + why +
                             "; it has the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
    };
    if (!uri.starts_with(scheme)) return refuse("does not start with spiffe://");
    std::string_view rest = uri.substr(scheme.size());
    std::array<std::string_view, 5> part;
    for (size_t i = 0; i < part.size(); ++i) {
        const size_t slash = rest.find('/');
        if ((slash == std::string_view::npos) != (i == 4)) return refuse("does not have exactly five parts");
        part[i] = rest.substr(0, slash);
        rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    }
    if (part[1] != "ns") return refuse("has no \"ns\" as second part");
    if (part[3] != "sa") return refuse("has no \"sa\" as fourth part");
    return Identity(part[0], part[2], part[4]);
}

std::string Identity::uri() const { return empty() ? std::string() : "spiffe://" + principal_.str(); }

bool TrustDomains::accepts(std::string_view own, std::string_view domain) const {
    return domain == own || std::find(aliases_.begin(), aliases_.end(), domain) != aliases_.end();
}

}  // namespace warren::policy
