// SPDX-License-Identifier: Apache-2.0
#include "tests/ztunnel/test_ca.h"

#include "ztunnel/certificate_text.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include <openssl/ec.h>
#include <openssl/pem.h>

namespace warren::tests {

using namespace ztunnel;

struct TestCa::State {
    KeyPtr key;
    X509Ptr certificate;
    const TestCa* issuer = nullptr;
};

namespace {

void must(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "test certificate: %s: %s\n", what, openssl_reason().c_str());
    std::abort();
}

template <class F>
std::string pem_of(F write) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    must(write(bio.get()) == 1, "PEM");
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<size_t>(n)};
}

long next_serial() {
    static std::atomic<long> serial{1000};
    return ++serial;
}

X509Ptr make_certificate(EVP_PKEY* key, const std::string& name, long serial, long not_before, long not_after) {
    X509Ptr x(X509_new());
    must(x && X509_set_version(x.get(), X509_VERSION_3) == 1, "new");
    ASN1_INTEGER_set(X509_get_serialNumber(x.get()), serial == 0 ? next_serial() : serial);
    X509_gmtime_adj(X509_getm_notBefore(x.get()), not_before);
    X509_gmtime_adj(X509_getm_notAfter(x.get()), not_after);
    if (!name.empty())
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x.get()), "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()),
                                   -1, -1, 0);
    must(X509_set_pubkey(x.get(), key) == 1, "key");
    return x;
}

void add(X509* x, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
    must(extension != nullptr && X509_add_ext(x, extension, -1) == 1, value.c_str());
    X509_EXTENSION_free(extension);
}

}  // namespace

TestCa::TestCa(const std::string& name, const TestCa* issuer, long serial) : state_(std::make_unique<State>()) {
    state_->key.reset(EVP_EC_gen("P-256"));
    state_->issuer = issuer;
    state_->certificate = make_certificate(state_->key.get(), name, serial, -86400, 86400);
    X509* x = state_->certificate.get();
    X509* above = issuer == nullptr ? x : issuer->state_->certificate.get();
    must(X509_set_issuer_name(x, X509_get_subject_name(above)) == 1, "issuer");
    add(x, above, NID_basic_constraints, "critical,CA:TRUE");
    add(x, above, NID_key_usage, "critical,keyCertSign,cRLSign");
    add(x, above, NID_subject_key_identifier, "hash");
    must(X509_sign(x, issuer == nullptr ? state_->key.get() : issuer->state_->key.get(), EVP_sha256()) > 0, "sign");
    pem_ = to_pem(x);
}

TestCa::~TestCa() = default;

Leaf TestCa::leaf(const LeafSpec& spec) const {
    const KeyPtr key(EVP_EC_gen("P-256"));
    const X509Ptr x = make_certificate(key.get(), "", spec.serial, spec.not_before, spec.not_after);
    X509* issuer = state_->certificate.get();
    must(X509_set_issuer_name(x.get(), X509_get_subject_name(issuer)) == 1, "issuer");
    std::string names;
    for (const auto& uri : spec.uris) names += ",URI:" + uri;
    for (const auto& dns : spec.dns) names += ",DNS:" + dns;
    if (!names.empty()) add(x.get(), issuer, NID_subject_alt_name, "critical" + names);
    add(x.get(), issuer, NID_key_usage, "critical,digitalSignature");
    if (!spec.eku.empty()) add(x.get(), issuer, NID_ext_key_usage, spec.eku);
    must(X509_sign(x.get(), state_->key.get(), EVP_sha256()) > 0, "sign");
    return {to_pem(x.get()),
            pem_of([&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); })};
}

std::string TestCa::crl_pem(const std::vector<long>& serials, bool expired, long issued_ago_s) const {
    const X509CrlPtr crl(X509_CRL_new());
    must(crl && X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1, "CRL");
    X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(state_->certificate.get()));
    ASN1_TIME* time = X509_gmtime_adj(nullptr, -issued_ago_s);
    X509_CRL_set1_lastUpdate(crl.get(), time);
    X509_gmtime_adj(time, expired ? -3600 : 3600);
    X509_CRL_set1_nextUpdate(crl.get(), time);
    for (const long serial : serials) {
        X509_REVOKED* entry = X509_REVOKED_new();
        ASN1_INTEGER* number = ASN1_INTEGER_new();
        ASN1_INTEGER_set(number, serial);
        X509_REVOKED_set_serialNumber(entry, number);
        X509_gmtime_adj(time, -60);
        X509_REVOKED_set_revocationDate(entry, time);
        ASN1_INTEGER_free(number);
        must(X509_CRL_add0_revoked(crl.get(), entry) == 1, "CRL entry");
    }
    ASN1_TIME_free(time);
    X509_CRL_sort(crl.get());
    must(X509_CRL_sign(crl.get(), state_->key.get(), EVP_sha256()) > 0, "sign");
    return pem_of([&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, crl.get()); });
}

std::vector<std::string> TestCa::chain(const Leaf& leaf, const std::string& roots_pem) const {
    std::vector<std::string> elements{leaf.cert_pem};
    for (const TestCa* ca = this; ca->state_->issuer != nullptr; ca = ca->state_->issuer) elements.push_back(ca->pem_);
    elements.push_back(roots_pem);
    return elements;
}

std::shared_ptr<const Credential> TestCa::credential(const LeafSpec& spec, const std::string& roots_pem) const {
    const Leaf made = leaf(spec);
    auto credential = Credential::parse(chain(made, roots_pem), made.key_pem);
    must(credential.has_value(), "credential");
    return *credential;
}

std::shared_ptr<const TlsContext> make_context(const TestCa& ca, const LeafSpec& spec, const std::string& roots_pem,
                                               const TlsSettings& settings, std::shared_ptr<const RevocationList> revoked) {
    auto context = TlsContext::create(ca.credential(spec, roots_pem), std::move(revoked), settings);
    if (!context) std::fprintf(stderr, "%s\n", context.error().message().c_str());
    must(context.has_value(), "context");
    return *context;
}

std::shared_ptr<const TlsContext> make_context(const TestCa& ca, const std::string& uri) {
    return make_context(ca, LeafSpec{.uris = {uri}, .dns = {}, .eku = ""}, ca.pem());
}

std::string pem_to_der(const std::string& pem) {
    size_t damaged = 0;
    const auto blocks = read_pem(pem, damaged);
    return blocks.empty() ? "" : blocks.front().der;
}

}  // namespace warren::tests
