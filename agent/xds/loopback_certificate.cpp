// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/loopback_certificate.h"

#include "base/bytes.h"
#include "base/openssl_ptr.h"
#include "base/small_file.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::xds {

namespace {

using namespace base::openssl;

constexpr size_t kMaxFile = 64UL * 1024;
constexpr std::string_view kCertificate = "-----BEGIN CERTIFICATE-----";
constexpr int kSerialBits = 127;  // positive, and never the same twice

base::Error failed() { return openssl_error("loopback certificate"); }

bool add(X509* to, X509V3_CTX& context, int what, const char* value) {
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, what, value));
    return extension && X509_add_ext(to, extension.get(), -1) == 1;
}

// Key and leaf fit, and the leaf holds beyond that time.
bool is_good(const LoopbackCertificate& kept, base::WallTime until) {
    const auto read = [](const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); };
    const BioPtr chain_bio = read(kept.tls.chain), key_bio = read(kept.tls.key), root_bio = read(kept.root);
    const X509Ptr leaf(PEM_read_bio_X509(chain_bio.get(), nullptr, nullptr, nullptr));
    const X509Ptr root(PEM_read_bio_X509(root_bio.get(), nullptr, nullptr, nullptr));
    const KeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
    time_t at = std::chrono::system_clock::to_time_t(until);
    const bool good = leaf && root && key && X509_check_private_key(leaf.get(), key.get()) == 1 &&
                      X509_verify(leaf.get(), X509_get0_pubkey(root.get())) == 1 && X509_cmp_time(X509_get0_notAfter(leaf.get()), &at) > 0;
    ERR_clear_error();
    return good;
}

struct Shape {
    const char* name;
    time_t from, until;
    X509* issuer;  // null: itself
};

// Not signed yet.
X509Ptr blank(EVP_PKEY* key, const Shape& shape) {
    X509Ptr made(X509_new());
    const BignumPtr serial(BN_new());
    if (!made || !serial || BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1) return nullptr;
    X509_NAME* name = X509_get_subject_name(made.get());
    const bool fine =
        X509_set_version(made.get(), X509_VERSION_3) == 1 &&
        BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(made.get())) != nullptr &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(shape.name), -1, -1, 0) == 1 &&
        X509_set_issuer_name(made.get(), shape.issuer != nullptr ? X509_get_subject_name(shape.issuer) : name) == 1 &&
        ASN1_TIME_set(X509_getm_notBefore(made.get()), shape.from) != nullptr &&
        ASN1_TIME_set(X509_getm_notAfter(made.get()), shape.until) != nullptr && X509_set_pubkey(made.get(), key) == 1;
    return fine ? std::move(made) : nullptr;
}

}  // namespace

base::Result<LoopbackCertificate> make_loopback_certificate(base::WallTime now, std::chrono::hours lifetime) {
    ERR_clear_error();
    const time_t from = std::chrono::system_clock::to_time_t(now - std::chrono::minutes(5));
    const time_t until = std::chrono::system_clock::to_time_t(now + lifetime);
    const KeyPtr root_key(EVP_EC_gen("P-256")), key(EVP_EC_gen("P-256"));
    if (!root_key || !key) return failed();
    const X509Ptr root = blank(root_key.get(), {"warren-agent on this node", from, until, nullptr});
    const X509Ptr leaf = root ? blank(key.get(), {"localhost", from, until, root.get()}) : nullptr;
    if (!leaf) return failed();
    X509V3_CTX context{};
    X509V3_set_ctx(&context, root.get(), root.get(), nullptr, nullptr, 0);
    if (!add(root.get(), context, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add(root.get(), context, NID_key_usage, "critical,keyCertSign") || !add(root.get(), context, NID_subject_key_identifier, "hash") ||
        X509_sign(root.get(), root_key.get(), EVP_sha256()) == 0)
        return failed();
    X509V3_set_ctx(&context, root.get(), leaf.get(), nullptr, nullptr, 0);
    if (!add(leaf.get(), context, NID_basic_constraints, "critical,CA:FALSE") ||
        !add(leaf.get(), context, NID_key_usage, "critical,digitalSignature") ||
        !add(leaf.get(), context, NID_ext_key_usage, "serverAuth") ||
        !add(leaf.get(), context, NID_authority_key_identifier, "keyid:always") ||
        !add(leaf.get(), context, NID_subject_alt_name, "IP:127.0.0.1,IP:::1,DNS:localhost") ||
        X509_sign(leaf.get(), root_key.get(), EVP_sha256()) == 0)
        return failed();
    const BioPtr key_bio(BIO_new(BIO_s_secmem()));  // cleansed when it is freed
    if (!key_bio || PEM_write_bio_PKCS8PrivateKey(key_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) return failed();
    LoopbackCertificate made;
    made.root = to_pem(root.get());
    made.tls.chain = to_pem(leaf.get());
    made.tls.key = bio_text(key_bio.get());
    if (made.root.empty() || made.tls.chain.empty()) return failed();
    return made;
}

base::Result<LoopbackCertificate> kept_loopback_certificate(const std::string& path, base::WallTime now, std::chrono::hours lifetime) {
    if (auto text = base::read_small_file(path, kMaxFile)) {
        LoopbackCertificate kept;
        const size_t leaf = text->find(kCertificate), root = text->rfind(kCertificate);
        if (leaf != std::string::npos && root > leaf) {
            kept.tls.key = text->substr(0, leaf);
            kept.tls.chain = text->substr(leaf, root - leaf);
            kept.root = text->substr(root);
        }
        base::wipe(*text);
        if (is_good(kept, now + lifetime / 3)) return kept;
        base::wipe(kept.tls.key);
    }
    LoopbackCertificate made = TRY(make_loopback_certificate(now, lifetime));
    std::string text = made.tls.key + made.tls.chain + made.root;
    auto written = base::replace_small_file(path, text);
    base::wipe(text);
    if (!written) {
        base::wipe(made.tls.key);
        return std::move(written).error();
    }
    return made;
}

}  // namespace warren::xds
