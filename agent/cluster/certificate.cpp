// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/certificate.h"

#include <array>
#include <cstring>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

namespace warren::cluster {

namespace {

constexpr int kMinRsaBits = 2048, kMaxRsaBits = 8192;

bool set_serial(ASN1_INTEGER* field) {
    std::array<unsigned char, 16> bytes{};
    if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
    bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3f) | 0x40);
    const BignumPtr number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
    return number && BN_to_ASN1_INTEGER(number.get(), field) != nullptr;
}

bool extend(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// From its parts: OpenSSL's text form would read commas in a name as syntax.
bool push_name(GENERAL_NAMES* names, int type, const std::string& value) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    GENERAL_NAME* name = GENERAL_NAME_new();
    if (text == nullptr || name == nullptr || ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) != 1) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, text);
    if (sk_GENERAL_NAME_push(names, name) > 0) return true;
    GENERAL_NAME_free(name);
    return false;
}

// Critical: the subject is empty, so who it is stands here alone (RFC 5280 4.2.1.6).
bool add_names(X509* certificate, const Subject& subject) {
    const GeneralNamesPtr names(sk_GENERAL_NAME_new_null());
    if (!names || (!subject.uri.empty() && !push_name(names.get(), GEN_URI, subject.uri))) return false;
    for (const std::string& dns : subject.dns)
        if (!push_name(names.get(), GEN_DNS, dns)) return false;
    return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 1, X509V3_ADD_APPEND) == 1;
}

// A plugged-in issuer need not have a key identifier; an empty one in its leafs would be worse than none.
bool name_issuer(X509* certificate, X509* issuer) {
    return X509_get0_subject_key_id(issuer) == nullptr || extend(certificate, issuer, NID_authority_key_identifier, "keyid:always");
}

bool set_name(X509_NAME* name, const AuthoritySpec& spec) {
    const auto add = [&](const char* field, const std::string& value) {
        return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                          static_cast<int>(value.size()), -1, 0) == 1;
    };
    return add("O", spec.organization) && add("CN", spec.name);
}

const EVP_MD* digest_for(EVP_PKEY* key) {
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256) return EVP_sha384();
    return EVP_sha256();
}

base::Result<X509Ptr> make_authority(const AuthoritySpec& spec, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
    ERR_clear_error();
    X509Ptr made(X509_new());
    X509* x = made.get();
    X509* above = issuer != nullptr ? issuer : x;
    const char* constraints = issuer != nullptr ? "critical,CA:TRUE,pathlen:0" : "critical,CA:TRUE";
    const bool composed = made && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(X509_get_serialNumber(x)) &&
                          set_name(X509_get_subject_name(x), spec) && X509_set_issuer_name(x, X509_get_subject_name(above)) == 1 &&
                          set_time(X509_getm_notBefore(x), spec.not_before) && set_time(X509_getm_notAfter(x), spec.not_after) &&
                          X509_set_pubkey(x, key) == 1 && extend(x, above, NID_basic_constraints, constraints) &&
                          extend(x, above, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                          extend(x, above, NID_subject_key_identifier, "hash") &&
                          (issuer == nullptr || extend(x, above, NID_authority_key_identifier, "keyid:always"));
    if (!composed || X509_sign(x, issuer_key, digest_for(issuer_key)) == 0) return openssl_error("certificate of an authority");
    return made;
}

const char* usage_of(Purpose purpose) {
    switch (purpose) {
        case Purpose::Workload: return "serverAuth,clientAuth";
        case Purpose::Node: return "clientAuth";
        case Purpose::Server: return "serverAuth";
    }
    return "";
}

// Without this OpenSSL's reader takes the first block of the right kind and leaves what else there is unseen.
bool one_request(std::string_view pem) {
    constexpr std::string_view kBegin = "-----BEGIN ";
    const size_t first = pem.find(kBegin);
    if (first == std::string_view::npos || pem.find(kBegin, first + 1) != std::string_view::npos) return false;
    const std::string_view kind = pem.substr(first + kBegin.size());
    return kind.starts_with("CERTIFICATE REQUEST-----") || kind.starts_with("NEW CERTIFICATE REQUEST-----");
}

bool add_revoked(X509_CRL* list, const std::string& serial, ASN1_TIME* when) {
    BIGNUM* raw = nullptr;
    if (BN_hex2bn(&raw, serial.c_str()) == 0) return false;
    const BignumPtr number(raw);
    const Asn1IntegerPtr value(BN_to_ASN1_INTEGER(number.get(), nullptr));
    X509_REVOKED* entry = X509_REVOKED_new();
    if (!value || entry == nullptr || X509_REVOKED_set_serialNumber(entry, value.get()) != 1 ||
        X509_REVOKED_set_revocationDate(entry, when) != 1 || X509_CRL_add0_revoked(list, entry) != 1) {
        X509_REVOKED_free(entry);
        return false;
    }
    return true;
}

}  // namespace

base::Result<KeyPtr> make_key(KeyKind kind) {
    ERR_clear_error();
    KeyPtr key(kind == KeyKind::EcP256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(kind == KeyKind::Rsa2048 ? 2048U : 4096U));
    if (!key) return openssl_error("key");
    return key;
}

base::Result<void> check_key(EVP_PKEY* key) {
    const int bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
        if (bits >= kMinRsaBits && bits <= kMaxRsaBits) return {};
        return base::invalid("an RSA key of " + std::to_string(bits) + " bits; 2048 to 8192 are accepted");
    }
    std::array<char, 64> group{};
    size_t size = 0;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1) {
        const std::string_view name(group.data(), size);
        if (name == "prime256v1" || name == "secp384r1" || name == "secp521r1") return {};
    }
    ERR_clear_error();
    return base::invalid("the key is neither EC on P-256, P-384 or P-521 nor RSA");
}

base::Result<KeyPtr> key_of_request(std::string_view csr_pem) {
    if (csr_pem.empty()) return base::invalid("csr is empty");
    if (csr_pem.size() > kMaxRequestBytes)
        return base::invalid("csr of " + std::to_string(csr_pem.size()) + " bytes; at most " + std::to_string(kMaxRequestBytes));
    if (!one_request(csr_pem)) return base::invalid("csr is not one PEM block CERTIFICATE REQUEST");
    ERR_clear_error();
    const BioPtr bio(BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size())));
    const X509ReqPtr request(bio ? PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr) : nullptr);
    if (!request) return base::invalid("csr does not parse: " + openssl_reason());
    KeyPtr key(X509_REQ_get_pubkey(request.get()));
    if (!key) return base::invalid("csr: the public key does not parse: " + openssl_reason());
    // Before the signature: what a strange key costs is known first.
    if (auto good = check_key(key.get()); !good) return std::move(good).error().with("csr");
    if (X509_REQ_verify(request.get(), key.get()) != 1) {
        ERR_clear_error();
        return base::invalid("csr: the signature is not of its own key");
    }
    return key;
}

base::Result<X509Ptr> make_root(const AuthoritySpec& spec, EVP_PKEY* key) { return make_authority(spec, key, nullptr, key); }

base::Result<X509Ptr> make_intermediate(const AuthoritySpec& spec, EVP_PKEY* key, X509* root, EVP_PKEY* root_key) {
    return make_authority(spec, key, root, root_key);
}

base::Result<X509Ptr> make_leaf(const LeafSpec& spec, EVP_PKEY* leaf_key, X509* issuer, EVP_PKEY* issuer_key) {
    ERR_clear_error();
    X509Ptr made(X509_new());
    X509* x = made.get();
    // keyEncipherment is for RSA key exchange and means nothing for EC, but the contract has it.
    const bool composed =
        made && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(X509_get_serialNumber(x)) &&
        X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 && set_time(X509_getm_notBefore(x), spec.not_before) &&
        set_time(X509_getm_notAfter(x), spec.not_after) && X509_set_pubkey(x, leaf_key) == 1 &&
        extend(x, issuer, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
        extend(x, issuer, NID_ext_key_usage, usage_of(spec.subject->purpose)) &&
        extend(x, issuer, NID_basic_constraints, "critical,CA:FALSE") && name_issuer(x, issuer) && add_names(x, *spec.subject);
    if (!composed || X509_sign(x, issuer_key, digest_for(issuer_key)) == 0) return openssl_error("certificate");
    return made;
}

base::Result<X509CrlPtr> make_list(const ListSpec& spec, X509* issuer, EVP_PKEY* issuer_key) {
    ERR_clear_error();
    X509CrlPtr made(X509_CRL_new());
    X509_CRL* list = made.get();
    const Asn1TimePtr now(ASN1_TIME_new()), next(ASN1_TIME_new());
    bool good = made && set_time(now.get(), spec.this_update) && set_time(next.get(), spec.next_update) &&
                X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 && X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer)) == 1 &&
                X509_CRL_set1_lastUpdate(list, now.get()) == 1 && X509_CRL_set1_nextUpdate(list, next.get()) == 1;
    for (const std::string& serial : *spec.serials) good = good && add_revoked(list, serial, now.get());
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, nullptr, nullptr, list, 0);
    const Asn1IntegerPtr number(ASN1_INTEGER_new());
    good = good && number && ASN1_INTEGER_set_uint64(number.get(), spec.number) == 1 &&
           X509_CRL_add1_ext_i2d(list, NID_crl_number, number.get(), 0, X509V3_ADD_APPEND) == 1;
    if (X509_get0_subject_key_id(issuer) != nullptr) {
        const ExtensionPtr key_id(X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
        good = good && key_id && X509_CRL_add_ext(list, key_id.get(), -1) == 1;
    }
    good = good && X509_CRL_sort(list) == 1 && X509_CRL_sign(list, issuer_key, digest_for(issuer_key)) != 0;
    if (!good) return openssl_error("revocation list");
    return made;
}

}  // namespace warren::cluster
