// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/auth_source.h"

#include "base/bytes.h"
#include "base/small_file.h"
#include "ztunnel/openssl_ptr.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

namespace warren::ztunnel {

namespace {

constexpr size_t kMaxToken = 64UL * 1024;
constexpr size_t kMaxRoots = 4UL * 1024 * 1024;
constexpr std::string_view kPemMark = "-----BEGIN ";

bool exists(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The places of distributions, after what the library was built or told (SSL_CERT_FILE) to use.
std::vector<std::string> system_bundles() {
    std::vector<std::string> paths;
    if (const char* told = std::getenv(X509_get_default_cert_file_env())) paths.emplace_back(told);
    for (const char* path : {X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"})
        paths.emplace_back(path);
    return paths;
}

// One damaged certificate in a bundle of many must not cut the node off.
std::string readable_certificates(std::string_view pem) {
    size_t damaged = 0;
    std::string all;
    for (const PemBlock& block : read_pem(pem, damaged))
        if (auto certificate = parse_certificate(block.der)) all += to_pem(certificate->get());
    return all;
}

}  // namespace

TokenSource::~TokenSource() { base::wipe(value_); }

TokenSource TokenSource::from_setting(std::string_view setting, const std::string& default_path) {
    const std::string value(setting);
    if (!value.empty()) return exists(value) ? file(value) : literal(value);
    return exists(default_path) ? file(default_path) : TokenSource();
}

base::Result<std::string> TokenSource::read() const {
    if (none()) return base::invalid("there is no token: AUTH_TOKEN is not set");
    std::string token = kind_ == Kind::File ? TRY(base::read_small_file(value_, kMaxToken)) : value_;
    const std::string what = kind_ == Kind::File ? "token file " + value_ : "AUTH_TOKEN";
    while (!token.empty() && is_space(token.back())) token.pop_back();
    if (token.empty()) return base::invalid(what + " is empty");
    if (!std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; })) {
        base::wipe(token);
        return base::invalid(what + " holds characters that a header may not have (a token is printable ASCII without spaces)");
    }
    return token;
}

base::Result<std::unique_ptr<RootSource>> RootSource::from_setting(const std::string& setting, base::FileWatcher* watcher) {
    const bool is_file = exists(setting);
    if (!is_file && setting != "SYSTEM" && setting.find(kPemMark) == std::string::npos)
        return base::invalid("CA_ROOT_CA " + base::quoted(setting) + " is neither an existing file nor SYSTEM nor PEM text");
    const Kind kind = is_file ? Kind::File : setting == "SYSTEM" ? Kind::System : Kind::Pem;
    std::unique_ptr<RootSource> source(new RootSource(kind, setting));
    if (is_file && watcher != nullptr) source->watch_ = TRY(watcher->watch(setting, [raw = source.get()] { raw->make_dirty(); }));
    return source;
}

base::Result<std::string> RootSource::load() const {
    std::string pem;
    std::string from = "CA_ROOT_CA";
    if (kind_ == Kind::Pem) pem = value_;
    if (kind_ == Kind::File) {
        from = value_;
        pem = TRY(base::read_small_file(value_, kMaxRoots));
    }
    if (kind_ == Kind::System) {
        from = "SYSTEM";
        for (const std::string& path : system_bundles())
            if (exists(path)) {
                pem = TRY(base::read_small_file(path, kMaxRoots));
                break;
            }
        if (pem.empty()) return base::Error{base::Errc::NotFound, 0, "roots", "this system has no certificate bundle; set SSL_CERT_FILE"};
    }
    auto usable = readable_certificates(pem);
    if (usable.empty()) return base::invalid("roots of " + from + ": there is no readable certificate in it");
    return usable;
}

std::vector<std::pair<std::string, std::string>> headers_from(const char* const* environment, std::string_view prefix) {
    std::vector<std::pair<std::string, std::string>> headers;
    for (; *environment != nullptr; ++environment) {
        const std::string_view entry = *environment;
        const size_t equals = entry.find('=');
        if (equals == std::string_view::npos || equals <= prefix.size() || !entry.starts_with(prefix)) continue;
        std::string name(entry.substr(prefix.size(), equals - prefix.size()));
        std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        headers.emplace_back(std::move(name), entry.substr(equals + 1));
    }
    std::sort(headers.begin(), headers.end());
    return headers;
}

}  // namespace warren::ztunnel
