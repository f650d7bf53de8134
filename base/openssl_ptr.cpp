// SPDX-License-Identifier: Apache-2.0
#include "base/openssl_ptr.h"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace warren::base::openssl {

std::string openssl_reason() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    if (const char* reason = ERR_reason_error_string(code)) return reason;
    return "OpenSSL error " + std::to_string(code);
}

Error openssl_error(const char* where) { return {Errc::Internal, 0, where, openssl_reason()}; }

std::string bio_text(BIO* bio) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio, &data);
    return n > 0 ? std::string(data, static_cast<size_t>(n)) : std::string();
}

std::string to_pem(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return bio && PEM_write_bio_X509(bio.get(), certificate) == 1 ? bio_text(bio.get()) : std::string();
}

std::vector<std::string> uri_names(X509* certificate) {
    std::vector<std::string> uris;
    const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    ERR_clear_error();
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_URI) continue;
        const ASN1_IA5STRING* value = name->d.uniformResourceIdentifier;
        std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)), static_cast<size_t>(ASN1_STRING_length(value)));
        if (std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; })) uris.push_back(std::move(text));
    }
    return uris;
}

}  // namespace warren::base::openssl
