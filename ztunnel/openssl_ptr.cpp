// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/openssl_ptr.h"

#include "base/bytes.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::ztunnel {

namespace {
std::string name_text(const ASN1_STRING* value) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)), static_cast<size_t>(ASN1_STRING_length(value))};
}

std::string bio_text(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return {data, static_cast<size_t>(n)};
}
}  // namespace

std::string openssl_reason() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    if (const char* reason = ERR_reason_error_string(code)) return reason;
    return "OpenSSL error " + std::to_string(code);
}

base::Error openssl_error(const char* where) { return {base::Errc::Internal, 0, where, openssl_reason()}; }

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
    X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
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

std::string to_pem(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
    return bio_text(bio.get());
}

std::vector<std::string> uri_names(X509* certificate) {
    std::vector<std::string> uris;
    const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    ERR_clear_error();
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_URI) continue;
        std::string uri = name_text(name->d.uniformResourceIdentifier);
        // A zero byte or a line break in a name has no honest use.
        if (std::all_of(uri.begin(), uri.end(), [](char c) { return c > ' ' && c < 0x7f; })) uris.push_back(std::move(uri));
    }
    return uris;
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
