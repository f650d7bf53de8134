// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/certificate_text.h"

#include "base/bytes.h"
#include "ztunnel/tls_library.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::ztunnel {

std::vector<PemBlock> read_pem(std::string_view text, size_t& damaged) {
    std::vector<PemBlock> blocks;
    damaged = 0;
    const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    while (bio) {
        char *label = nullptr, *header = nullptr;
        unsigned char* data = nullptr;
        long n = 0;
        ERR_clear_error();
        if (PEM_read_bio(bio.get(), &label, &header, &data, &n) == 1) {
            blocks.push_back({label, {reinterpret_cast<const char*>(data), static_cast<size_t>(n)}});
            OPENSSL_clear_free(data, static_cast<size_t>(n));
            OPENSSL_free(label);
            OPENSSL_free(header);
            continue;
        }
        const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE || BIO_eof(bio.get());
        if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) ++damaged;
        ERR_clear_error();
        if (end) break;
    }
    return blocks;
}

base::Result<X509Ptr> parse_certificate(std::string_view der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const unsigned char* end = at + der.size();
    ERR_clear_error();
    X509* read = X509_new_ex(tls_library(), nullptr);
    if (read != nullptr && d2i_X509(&read, &at, static_cast<long>(der.size())) == nullptr) {
        X509_free(read);  // null where OpenSSL has freed it
        read = nullptr;
    }
    X509Ptr certificate(read);
    if (!certificate) return base::invalid("certificate does not parse: " + openssl_reason());
    if (at != end) return base::invalid("certificate is followed by " + std::to_string(end - at) + " foreign bytes");
    return certificate;
}

std::string to_der(X509* certificate) {
    const int n = i2d_X509(certificate, nullptr);
    if (n <= 0) return {};
    std::string der(static_cast<size_t>(n), '\0');
    auto* at = reinterpret_cast<unsigned char*>(der.data());
    i2d_X509(certificate, &at);
    return der;
}

std::string describe(X509* certificate) {
    constexpr size_t kShown = 4;  // an error stays one readable line whatever the peer puts into its certificate
    const auto uris = uri_names(certificate);
    std::string text;
    for (size_t i = 0; i < uris.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + base::quoted(uris[i]);
    if (uris.size() > kShown) text += " and " + std::to_string(uris.size() - kShown) + " more";
    if (!text.empty()) return text;
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (bio) X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_ONELINE);
    const std::string subject = bio ? bio_text(bio.get()) : "";
    return "no URI name, subject " + base::quoted(subject);
}

}  // namespace warren::ztunnel
