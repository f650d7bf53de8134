// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/credential.h"

#include "base/bytes.h"
#include "ztunnel/credential_openssl.h"
#include "ztunnel/tls_verify.h"

#include <ctime>
#include <fstream>
#include <iterator>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::ztunnel {

namespace {

constexpr size_t kMaxText = 1024 * 1024;
constexpr size_t kMaxCertificates = 256;

base::Result<std::chrono::system_clock::time_point> time_of(const ASN1_TIME* time) {
    std::tm fields{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1) return base::invalid("certificate has an unreadable validity time");
    return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

base::Result<CertificateInfo> info_of(X509* certificate) {
    CertificateInfo info;
    info.pem = to_pem(certificate);
    BIGNUM* serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
    char* decimal = serial == nullptr ? nullptr : BN_bn2dec(serial);
    if (decimal != nullptr) info.serial_decimal = decimal;
    OPENSSL_free(decimal);
    BN_free(serial);
    info.not_before = TRY(time_of(X509_get0_notBefore(certificate)));
    info.not_after = TRY(time_of(X509_get0_notAfter(certificate)));
    if (info.not_after < info.not_before) return base::invalid("certificate ends before it begins");
    return info;
}

// All certificates of a PEM text. Damaged ones are counted, not fatal here.
struct Found {
    std::vector<X509Ptr> certificates;
    size_t damaged = 0;
    std::string reason;
};
base::Result<Found> certificates_in(std::string_view pem) {
    if (pem.size() > kMaxText) return base::invalid("certificates of " + std::to_string(pem.size()) + " bytes; at most 1 MiB is read");
    Found found;
    for (const PemBlock& block : read_pem(pem, found.damaged)) {
        if (block.label != "CERTIFICATE" && block.label != "X509 CERTIFICATE" && block.label != "TRUSTED CERTIFICATE") continue;
        auto certificate = parse_certificate(block.der);
        if (certificate) {
            found.certificates.push_back(std::move(certificate).value());
        } else {
            ++found.damaged;
            found.reason = certificate.error().detail;
        }
        if (found.certificates.size() > kMaxCertificates)
            return base::invalid("more than " + std::to_string(kMaxCertificates) + " certificates");
    }
    if (found.reason.empty()) found.reason = found.damaged > 0 ? "a PEM block is damaged" : "there is no CERTIFICATE block";
    return found;
}

base::Result<X509Ptr> first_certificate(std::string_view pem, const std::string& what) {
    Found found = TRY(certificates_in(pem));
    if (found.certificates.empty()) return base::invalid(what + ": " + found.reason);
    return std::move(found.certificates.front());
}

base::Result<KeyPtr> parse_key(std::string_view pem) {
    if (pem.size() > kMaxText) return base::invalid("private key of " + std::to_string(pem.size()) + " bytes");
    ERR_clear_error();
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    // Without this callback OpenSSL would ask the terminal for a password.
    auto no_password = [](char*, int, int, void*) { return -1; };
    KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
    if (!key) return base::invalid("private key: neither PKCS#8 nor SEC1 in PEM without a password (" + openssl_reason() + ")");
    return key;
}

base::Result<std::string> read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (!in.is_open() || in.bad()) return base::os_error_of(ENOENT, "open", path);
    return text;
}

}  // namespace

base::Result<std::shared_ptr<const Credential>> OpensslCredential::create(Parts parts) {
    X509* leaf = parts.chain.front().get();
    if (X509_check_private_key(leaf, parts.key.get()) != 1) {
        ERR_clear_error();
        return base::invalid("the private key does not belong to the certificate of " + describe(leaf));
    }
    auto credential = std::make_shared<OpensslCredential>(std::move(parts));
    for (const X509Ptr& c : credential->parts_.chain) credential->chain_.push_back(TRY(info_of(c.get())));
    for (const X509Ptr& c : credential->parts_.roots) credential->roots_.push_back(TRY(info_of(c.get())));
    const auto uris = uri_names(leaf);
    if (!uris.empty())
        if (auto identity = policy::Identity::parse(uris.front())) credential->identity_ = std::move(identity).value();
    return std::shared_ptr<const Credential>(std::move(credential));
}

base::Result<std::shared_ptr<const Credential>> Credential::parse(const std::vector<std::string>& chain_pem, std::string key_pem) {
    auto key = parse_key(key_pem);
    base::wipe(key_pem);
    if (chain_pem.empty()) return base::invalid("certificate chain is empty");
    if (chain_pem.size() == 1)
        return base::invalid("certificate chain has one element; the last one must be the root bundle, so no peer could be verified");
    OpensslCredential::Parts parts;
    parts.chain.push_back(TRY(first_certificate(chain_pem.front(), "leaf certificate")));
    for (size_t i = 1; i + 1 < chain_pem.size(); ++i)
        parts.chain.push_back(TRY(first_certificate(chain_pem[i], "intermediate certificate " + std::to_string(i))));
    Found roots = TRY(certificates_in(chain_pem.back()));
    if (roots.certificates.empty()) return base::invalid("root bundle: " + roots.reason);
    parts.roots = std::move(roots.certificates);
    parts.skipped_roots = roots.damaged;
    parts.key = TRY(std::move(key));
    return OpensslCredential::create(std::move(parts));
}

base::Result<std::shared_ptr<const Credential>> Credential::parse_files(const std::string& chain_path, const std::string& key_path,
                                                                        const std::string& roots_path) {
    std::string key = TRY(read_text(key_path));
    Found chain = TRY(certificates_in(TRY(read_text(chain_path))));
    if (chain.certificates.empty() || chain.damaged > 0) return base::invalid(chain_path + ": " + chain.reason);
    std::vector<std::string> elements;
    for (const X509Ptr& certificate : chain.certificates) elements.push_back(to_pem(certificate.get()));
    elements.push_back(TRY(read_text(roots_path)));
    return parse(elements, std::move(key));
}

std::chrono::system_clock::time_point Credential::renew_at() const { return not_before() + (not_after() - not_before()) / 2; }

}  // namespace warren::ztunnel
