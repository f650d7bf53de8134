// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/crl.h"

#include "ztunnel/tls_verify.h"

#include <openssl/err.h>

namespace warren::ztunnel {

namespace {

constexpr size_t kMaxFile = 64 * 1024 * 1024;

class Lists final : public RevocationList {
  public:
    explicit Lists(std::vector<X509CrlPtr> crls) : crls_(std::move(crls)) {}

    [[nodiscard]] size_t lists() const override { return crls_.size(); }

    [[nodiscard]] bool mentions(std::string_view certificate_der) const override {
        const auto certificate = parse_certificate(certificate_der);
        if (!certificate) return false;
        for (const auto& crl : crls_)
            if (lists_certificate(crl.get(), certificate->get())) return true;
        return false;
    }

    // The signature is checked only where the answer matters. A list that names the certificate and does not carry its issuer's
    // signature is a forgery, damaged, or of another CA of the same name: only the last, told by the key identifier, is no reason to
    // refuse.
    [[nodiscard]] base::Result<void> check(X509* certificate, X509* issuer) const {
        for (const auto& crl : crls_) {
            if (!lists_certificate(crl.get(), certificate)) continue;
            if (X509_CRL_verify(crl.get(), X509_get0_pubkey(issuer)) == 1)
                return base::Error{base::Errc::Denied, 0, "", "certificate of " + describe(certificate) + " is revoked"};
            ERR_clear_error();
            if (other_key(crl.get(), issuer)) continue;
            return base::Error{base::Errc::Denied, 0, "",
                               "certificate of " + describe(certificate) + " is on a revocation list whose signature does not verify"};
        }
        return {};
    }

  private:
    static bool lists_certificate(X509_CRL* crl, X509* certificate) {
        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(certificate)) != 0) return false;
        X509_REVOKED* entry = nullptr;
        return X509_CRL_get0_by_cert(crl, &entry, certificate) == 1;  // 2 is "removed from the list"
    }

    static bool other_key(X509_CRL* crl, X509* issuer) {
        const ASN1_OCTET_STRING* own = X509_get0_subject_key_id(issuer);
        auto* claimed = static_cast<AUTHORITY_KEYID*>(X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, nullptr, nullptr));
        const bool other =
            own != nullptr && claimed != nullptr && claimed->keyid != nullptr && ASN1_OCTET_STRING_cmp(claimed->keyid, own) != 0;
        AUTHORITY_KEYID_free(claimed);
        return other;
    }

    std::vector<X509CrlPtr> crls_;
};

base::Result<X509CrlPtr> parse_der(std::string_view der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const unsigned char* end = at + der.size();
    ERR_clear_error();
    X509CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
    if (!crl) return base::invalid("revocation list does not parse: " + openssl_reason());
    if (at != end) return base::invalid("revocation list is followed by " + std::to_string(end - at) + " foreign bytes");
    return crl;
}

}  // namespace

base::Result<std::shared_ptr<const RevocationList>> RevocationList::parse(std::string_view file) {
    if (file.size() > kMaxFile)
        return base::invalid("revocation list of " + std::to_string(file.size()) + " bytes; at most 64 MiB are read");
    std::vector<X509CrlPtr> crls;
    if (file.find("-----BEGIN") != std::string_view::npos) {
        size_t damaged = 0;
        for (const PemBlock& block : read_pem(file, damaged))
            if (block.label == "X509 CRL") crls.push_back(TRY(parse_der(block.der)));
        if (damaged > 0) return base::invalid("revocation list: " + std::to_string(damaged) + " PEM blocks are damaged");
        if (crls.empty())
            return base::invalid("revocation list: the file has PEM blocks but none is an X509 CRL; empty it to revoke nobody");
    } else if (file.find_first_not_of(" \t\r\n") != std::string_view::npos) {
        crls.push_back(TRY(parse_der(file)));
    }
    return std::shared_ptr<const RevocationList>(std::make_shared<Lists>(std::move(crls)));
}

base::Result<void> check_revoked(const RevocationList& lists, STACK_OF(X509) * chain) {
    // The last one is the trust anchor, which nobody above it can revoke.
    for (int i = 0; i + 1 < sk_X509_num(chain); ++i)
        TRY(static_cast<const Lists&>(lists).check(sk_X509_value(chain, i), sk_X509_value(chain, i + 1)));
    return {};
}

}  // namespace warren::ztunnel
