// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/auth_source.h"

#include "base/bytes.h"
#include "base/small_file.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

namespace warren::xds {

namespace {

constexpr size_t kMaxToken = 64UL * 1024;
constexpr size_t kMaxRoots = 4UL * 1024 * 1024;
constexpr std::string_view kCertificateMark = "-----BEGIN CERTIFICATE-----";

bool exists(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The bundles of distributions, after what the process was told to use.
base::Result<std::string> read_system_roots() {
    std::vector<std::string> paths;
    if (const char* told = std::getenv("SSL_CERT_FILE")) paths.emplace_back(told);
    for (const char* path :
         {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"})
        paths.emplace_back(path);
    for (const std::string& path : paths)
        if (exists(path)) return base::read_small_file(path, kMaxRoots);
    return base::Error{base::Errc::NotFound, 0, "roots", "this system has no certificate bundle; set SSL_CERT_FILE"};
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

base::Result<RootSource> RootSource::from_setting(std::string_view name, const std::string& setting) {
    if (setting == "SYSTEM") return system();
    if (exists(setting)) return file(setting);
    if (setting.find(kCertificateMark) != std::string::npos) return pem(setting);
    return base::invalid(std::string(name) + " " + base::quoted(setting) + " is neither an existing file nor SYSTEM nor PEM text");
}

base::Result<std::string> RootSource::load() const {
    if (kind_ == Kind::None) return base::invalid("no roots are configured to verify the control plane with");
    std::string text = kind_ == Kind::Pem    ? value_
                       : kind_ == Kind::File ? TRY(base::read_small_file(value_, kMaxRoots))
                                             : TRY(read_system_roots());
    if (text.find(kCertificateMark) != std::string::npos) return text;
    const std::string from = kind_ == Kind::File ? "file " + value_ : kind_ == Kind::System ? "the system" : "the setting";
    return base::invalid("roots of " + from + ": there is no certificate in PEM form");
}

Headers headers_from(const char* const* environment, std::string_view prefix) {
    Headers headers;
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

}  // namespace warren::xds
