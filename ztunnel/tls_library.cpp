// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tls_library.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

namespace warren::ztunnel {

namespace {

constexpr unsigned kDecodersAreKept = 2;  // minor version of OpenSSL 3 since which they need no such help

// What TLS in a mesh uses, by the first of an algorithm's names. Of other operations (random numbers, encoders) all is there.
struct Used {
    int operation;
    std::vector<std::string_view> names;
};
const std::vector<Used>& used() {
    static const std::vector<Used> all = {
        {OSSL_OP_DIGEST, {"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}},  // SHA-1: how OpenSSL tells certificates apart
        {OSSL_OP_CIPHER, {"AES-128-GCM", "AES-256-GCM"}},
        {OSSL_OP_MAC, {"HMAC"}},
        {OSSL_OP_KDF, {"HKDF", "TLS13-KDF", "TLS1-PRF"}},
        {OSSL_OP_KEYMGMT, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "X25519", "HKDF", "TLS1-PRF", "HMAC"}},
        {OSSL_OP_KEYEXCH, {"ECDH", "X25519", "HKDF", "TLS1-PRF"}},
        {OSSL_OP_SIGNATURE, {"RSA", "ECDSA", "ED25519", "ED448", "HMAC"}},
        {OSSL_OP_DECODER, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"}},
    };
    return all;
}

// The default provider, for the process's life, and those of its algorithms.
struct Inner {
    OSSL_PROVIDER* provider = nullptr;
    std::vector<std::pair<int, std::vector<OSSL_ALGORITHM>>> chosen;
};
Inner& inner() {
    static Inner only;
    return only;
}

bool is_used(const OSSL_ALGORITHM& algorithm, const Used& kind) {
    const std::string_view all = algorithm.algorithm_names;  // "EC:id-ecPublicKey:1.2.840.10045.2.1"
    if (std::find(kind.names.begin(), kind.names.end(), all.substr(0, all.find(':'))) == kind.names.end()) return false;
    const std::string_view properties = algorithm.property_definition;
    return kind.operation != OSSL_OP_DECODER || (properties.find("input=der") != std::string_view::npos &&
                                                 properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos);
}

// False when one is missing: this is not the library we know.
bool choose_algorithms() {
    Inner& from = inner();
    from.provider = OSSL_PROVIDER_load(nullptr, "default");
    if (from.provider == nullptr) return false;
    for (const Used& kind : used()) {
        std::vector<OSSL_ALGORITHM> chosen;
        int no_cache = 0;
        const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(from.provider, kind.operation, &no_cache);
        for (; all != nullptr && all->algorithm_names != nullptr; ++all)
            if (is_used(*all, kind)) chosen.push_back(*all);
        if (chosen.size() != kind.names.size()) return false;
        chosen.push_back({});  // the list's end
        from.chosen.emplace_back(kind.operation, std::move(chosen));
    }
    return true;
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
    *no_cache = 0;
    for (const auto& [kind, algorithms] : inner().chosen)
        if (kind == operation) return algorithms.data();
    return OSSL_PROVIDER_query_operation(inner().provider, operation, no_cache);
}

int capabilities(void*, const char* name, OSSL_CALLBACK* each, void* argument) {
    return OSSL_PROVIDER_get_capabilities(inner().provider, name, each, argument);
}

using Function = void (*)();
constexpr int kLast = 0;

int init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
    static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<Function>(query)},
                                              {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<Function>(capabilities)},
                                              {kLast, nullptr}};
    *out = functions;
    *context = OSSL_PROVIDER_get0_provider_ctx(inner().provider);
    return 1;
}

OSSL_LIB_CTX* make() {
    // Asked first: an explicit load of the default provider would end OpenSSL's own choice of it.
    const bool chosen = OSSL_PROVIDER_available(nullptr, "fips") == 1 || OSSL_PROVIDER_available(nullptr, "default") != 1 ||
                        EVP_default_properties_is_fips_enabled(nullptr) == 1;
    if (OPENSSL_version_major() != 3 || OPENSSL_version_minor() >= kDecodersAreKept || chosen || !choose_algorithms()) return nullptr;
    OSSL_LIB_CTX* made = OSSL_LIB_CTX_new();
    if (made != nullptr && OSSL_PROVIDER_add_builtin(made, "warren", init) == 1 && OSSL_PROVIDER_load(made, "warren") != nullptr)
        return made;
    OSSL_LIB_CTX_free(made);
    return nullptr;
}

}  // namespace

OSSL_LIB_CTX* tls_library() {
    static OSSL_LIB_CTX* const only = [] {
        OSSL_LIB_CTX* made = make();
        ERR_clear_error();
        return made;
    }();
    return only;
}

}  // namespace warren::ztunnel
