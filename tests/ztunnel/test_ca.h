// SPDX-License-Identifier: Apache-2.0
// A certificate authority for tests, made in the process: roots, intermediates, leaves with any names and times, revocation lists. A
// call that OpenSSL refuses ends the program: that is the test's own mistake.
#pragma once

#include "ztunnel/credential.h"
#include "ztunnel/tls_context.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::tests {

struct LeafSpec {
    std::vector<std::string> uris;
    std::vector<std::string> dns;
    long not_before = -3600;  // seconds from now
    long not_after = 3600;
    std::string eku;  // "serverAuth,clientAuth"; empty: none
    long serial = 0;  // 0: the next one
};

struct Leaf {
    std::string cert_pem, key_pem;
};

class TestCa {
  public:
    // Self-signed, or signed by another.
    explicit TestCa(const std::string& name, const TestCa* issuer = nullptr, long serial = 0);
    ~TestCa();
    TestCa(const TestCa&) = delete;
    TestCa& operator=(const TestCa&) = delete;

    [[nodiscard]] Leaf leaf(const LeafSpec& spec) const;
    [[nodiscard]] Leaf leaf(const std::string& uri) const { return leaf(LeafSpec{.uris = {uri}, .dns = {}, .eku = ""}); }
    [[nodiscard]] const std::string& pem() const { return pem_; }
    // The serial numbers revoked; next update in the past when expired.
    [[nodiscard]] std::string crl_pem(const std::vector<long>& serials, bool expired = false, long issued_ago_s = 7200) const;
    // Leaf, intermediates (this one's own included when it has an issuer), then the anchors as one element.
    [[nodiscard]] std::vector<std::string> chain(const Leaf& leaf, const std::string& roots_pem) const;
    [[nodiscard]] std::shared_ptr<const ztunnel::Credential> credential(const LeafSpec& spec, const std::string& roots_pem) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
    std::string pem_;
};

// A context for one identity under one authority: the usual case.
std::shared_ptr<const ztunnel::TlsContext> make_context(const TestCa& ca, const LeafSpec& spec, const std::string& roots_pem,
                                                        const ztunnel::TlsSettings& settings = {},
                                                        std::shared_ptr<const ztunnel::RevocationList> revoked = nullptr);
std::shared_ptr<const ztunnel::TlsContext> make_context(const TestCa& ca, const std::string& uri);

std::string pem_to_der(const std::string& pem);

}  // namespace warren::tests
