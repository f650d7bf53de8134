// SPDX-License-Identifier: Apache-2.0
#include "agent/node/revocation_lists.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>

namespace warren::node {

namespace {

using namespace base::openssl;

base::WallTime issued_at(const X509_CRL* list) {
    tm time{};
    if (ASN1_TIME_to_tm(X509_CRL_get0_lastUpdate(list), &time) != 1) return {};
    return base::WallTime(std::chrono::seconds(::timegm(&time)));
}

const STACK_OF(X509_REVOKED) * entries(X509_CRL* list) { return X509_CRL_get_REVOKED(list); }

std::string issuer_of(const X509_CRL* list) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (bio) X509_NAME_print_ex(bio.get(), X509_CRL_get_issuer(list), 0, XN_FLAG_RFC2253);
    return bio ? bio_text(bio.get()) : std::string();
}

std::string hex_of(const ASN1_INTEGER* serial) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (bio) i2a_ASN1_INTEGER(bio.get(), serial);
    return bio ? bio_text(bio.get()) : std::string();
}

// A serial of `before` that `now` does not have.
const ASN1_INTEGER* missing(X509_CRL* before, X509_CRL* now) {
    for (int i = 0; i < sk_X509_REVOKED_num(entries(before)); ++i) {
        const ASN1_INTEGER* serial = X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries(before), i));
        X509_REVOKED* found = nullptr;
        if (X509_CRL_get0_by_serial(now, &found, serial) != 1) return serial;
    }
    return nullptr;
}

}  // namespace

base::Result<RevocationLists> RevocationLists::parse(std::string_view pem) {
    if (pem.size() > kMaxBytes)
        return base::invalid("revocation lists of " + std::to_string(pem.size()) + " bytes; at most 16 MiB are taken");
    RevocationLists out;
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) return openssl_error("revocation lists");
    ERR_clear_error();
    while (X509CrlPtr list{PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)}) out.lists_.push_back(std::move(list));
    // The end of the input is an error of this kind to OpenSSL; any other one is a list that does not read.
    const unsigned long why = ERR_peek_last_error();
    if (ERR_GET_REASON(why) != PEM_R_NO_START_LINE) return base::invalid("revocation lists do not read: " + openssl_reason());
    ERR_clear_error();
    if (out.lists_.empty() && pem.find_first_not_of(" \t\r\n") != std::string_view::npos)
        return base::invalid("revocation lists: a text without a PEM block of one");
    return out;
}

size_t RevocationLists::serials() const {
    size_t n = 0;
    for (const auto& list : lists_) n += static_cast<size_t>(std::max(sk_X509_REVOKED_num(entries(list.get())), 0));
    return n;
}

base::WallTime RevocationLists::issued() const {
    base::WallTime last{};
    for (const auto& list : lists_) last = std::max(last, issued_at(list.get()));
    return last;
}

std::optional<std::string> RevocationLists::takes_back(const RevocationLists& before) const {
    for (const auto& old : before.lists_)
        for (const auto& list : lists_) {
            if (X509_NAME_cmp(X509_CRL_get_issuer(old.get()), X509_CRL_get_issuer(list.get())) != 0) continue;
            if (issued_at(list.get()) >= issued_at(old.get())) continue;
            if (const ASN1_INTEGER* serial = missing(old.get(), list.get()))
                return "the list of " + issuer_of(list.get()) + " is older than the one in force and lacks serial " + hex_of(serial);
        }
    return std::nullopt;
}

}  // namespace warren::node
