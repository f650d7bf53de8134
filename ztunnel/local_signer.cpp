// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/local_signer.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"
#include "ztunnel/certificate_text.h"

#include <algorithm>
#include <array>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

namespace warren::ztunnel {

namespace {

using base::WallTime;

const base::log::Area kLog("identity");

constexpr size_t kMaxFile = 256UL * 1024;

bool set_time(ASN1_TIME* field, WallTime time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
    return ASN1_TIME_set(field, static_cast<time_t>(seconds)) != nullptr;
}

base::Result<WallTime> time_of(const ASN1_TIME* time) {
    std::tm fields{};
    if (ASN1_TIME_to_tm(time, &fields) != 1) return base::invalid("unreadable validity time");
    return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

// 127 random bits: positive, and not zero in practice (RFC 5280 4.1.2.2).
bool set_serial(X509* certificate) {
    std::array<unsigned char, 16> bytes{};
    if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
    bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3f) | 0x40);
    BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
    const bool ok = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
    BN_free(number);
    return ok;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    const bool ok = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

// As the request has it: the request is ours, made a moment ago.
bool copy_extensions(X509* certificate, X509_REQ* request) {
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
    bool ok = sk_X509_EXTENSION_num(extensions) == 1;
    for (int i = 0; ok && i < sk_X509_EXTENSION_num(extensions); ++i)
        ok = X509_add_ext(certificate, sk_X509_EXTENSION_value(extensions, i), -1) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok;
}

base::Result<KeyPtr> read_key(const std::string& path) {
    std::string text = TRY(base::read_small_file(path, kMaxFile));
    ERR_clear_error();
    const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    auto no_password = [](char*, int, int, void*) { return -1; };
    KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
    base::wipe(text);
    if (!key) return base::invalid(path + " is no private key in PEM without a password (" + openssl_reason() + ")");
    return key;
}

base::Result<X509Ptr> read_certificate(const std::string& path) {
    const std::string text = TRY(base::read_small_file(path, kMaxFile));
    size_t damaged = 0;
    for (const PemBlock& block : read_pem(text, damaged)) {
        if (block.label != "CERTIFICATE") continue;
        auto certificate = parse_certificate(block.der);
        if (!certificate) return std::move(certificate).error().with(path);
        return certificate;
    }
    return base::invalid(path + " holds no CERTIFICATE block in PEM");
}

}  // namespace

struct LocalSigner::Authority {
    X509Ptr certificate;
    KeyPtr key;
    std::string pem;
    WallTime not_after;
};

LocalSigner::LocalSigner(std::unique_ptr<const Authority> authority, const base::Clock& clock, LocalSignerOptions options)
    : authority_(std::move(authority)), clock_(clock), options_(options) {}
LocalSigner::~LocalSigner() = default;

base::Result<std::unique_ptr<LocalSigner>> LocalSigner::load(const std::string& directory, const base::Clock& clock,
                                                             LocalSignerOptions options) {
    const std::string certificate_path = directory + "/ca.pem", key_path = directory + "/ca.key";
    auto authority = std::make_unique<Authority>();
    authority->certificate = TRY(read_certificate(certificate_path));
    authority->key = TRY(read_key(key_path));
    X509* certificate = authority->certificate.get();
    if (X509_check_ca(certificate) != 1) return base::invalid(certificate_path + " is not the certificate of an authority (CA:TRUE)");
    if (X509_check_private_key(certificate, authority->key.get()) != 1) {
        ERR_clear_error();
        return base::invalid(key_path + " is not the key of " + certificate_path);
    }
    if (options.lifetime <= std::chrono::seconds(0)) return base::invalid("lifetime of local certificates must be positive");
    authority->pem = to_pem(certificate);
    authority->not_after = TRY(time_of(X509_get0_notAfter(certificate)));
    WARREN_LOG(kLog, base::log::Level::Warn,
               "LOCAL AUTHORITY IN USE: this process signs certificates for any identity; never do this outside of a lab",
               {"directory", directory});
    return std::unique_ptr<LocalSigner>(new LocalSigner(std::move(authority), clock, options));
}

base::Result<std::shared_ptr<const Credential>> LocalSigner::sign(const policy::Identity& identity, std::chrono::steady_clock::time_point) {
    CertificateRequest wanted = TRY(make_certificate_request(identity));
    ERR_clear_error();
    const BioPtr bio(BIO_new_mem_buf(wanted.csr_pem.data(), static_cast<int>(wanted.csr_pem.size())));
    const X509ReqPtr request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr) : nullptr);
    const X509Ptr leaf(X509_new());
    if (!request || !leaf) return openssl_error("local authority");

    const WallTime now = clock_.wall();
    X509* issuer = authority_->certificate.get();
    X509* made = leaf.get();
    const WallTime not_after = std::min<WallTime>(now + options_.lifetime, authority_->not_after);
    // The subject stays empty: who it is stands in the critical SubjectAltName.
    const bool composed = X509_set_version(made, X509_VERSION_3) == 1 && set_serial(made) &&
                          X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1 &&
                          set_time(X509_getm_notBefore(made), now - options_.backdate) && set_time(X509_getm_notAfter(made), not_after) &&
                          X509_set_pubkey(made, X509_REQ_get0_pubkey(request.get())) == 1 &&
                          add_extension(made, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                          add_extension(made, issuer, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
                          add_extension(made, issuer, NID_ext_key_usage, "serverAuth,clientAuth") && copy_extensions(made, request.get());
    if (!composed || X509_sign(made, authority_->key.get(), EVP_sha256()) == 0) return openssl_error("local authority");
    return Credential::parse({to_pem(made), authority_->pem}, std::move(wanted.key_pem));
}

}  // namespace warren::ztunnel
