// SPDX-License-Identifier: Apache-2.0
// Where the control channels (xDS, certificate service) get their bearer token, their roots and their extra headers from (data-plane
// contract 2.2, 3.7, 10.2: AUTH_TOKEN, XDS_ROOT_CA, CA_ROOT_CA, XDS_HEADER_*, CA_HEADER_*). Values that any thread may read, several at
// once; read() and load() block on small files. Tokens are secrets: read anew for each use, wiped by the caller, never logged; errors name
// the path, never the content.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::xds {

using Headers = std::vector<std::pair<std::string, std::string>>;

class TokenSource {
  public:
    // setting: the value of AUTH_TOKEN, empty when it is unset. An existing file, a literal token, else the default file, else no token.
    [[nodiscard]] static TokenSource from_setting(std::string_view setting, const std::string& default_path);
    static TokenSource file(std::string path) { return {Kind::File, std::move(path)}; }
    static TokenSource literal(std::string token) { return {Kind::Literal, std::move(token)}; }
    TokenSource() = default;
    TokenSource(const TokenSource&) = default;
    TokenSource(TokenSource&&) = default;
    TokenSource& operator=(const TokenSource&) = default;
    TokenSource& operator=(TokenSource&&) = default;
    ~TokenSource();

    [[nodiscard]] bool none() const { return kind_ == Kind::None; }
    // Without the white space at its end. Empty, not printable or larger than 64 KiB is an error.
    [[nodiscard]] base::Result<std::string> read() const;

  private:
    enum class Kind : uint8_t { None, File, Literal };
    TokenSource(Kind kind, std::string value) : kind_(kind), value_(std::move(value)) {}
    Kind kind_ = Kind::None;
    std::string value_;
};

class RootSource {
  public:
    // setting: the value of XDS_ROOT_CA or CA_ROOT_CA, which an error names: an existing file, SYSTEM, else PEM text.
    [[nodiscard]] static base::Result<RootSource> from_setting(std::string_view name, const std::string& setting);
    static RootSource file(std::string path) { return {Kind::File, std::move(path)}; }
    static RootSource pem(std::string text) { return {Kind::Pem, std::move(text)}; }
    static RootSource system() { return {Kind::System, {}}; }
    RootSource() = default;  // no roots: load() fails

    [[nodiscard]] bool none() const { return kind_ == Kind::None; }
    // PEM text with at least one certificate in it, of at most 4 MiB. Whether the certificates make sense shows at the handshake.
    [[nodiscard]] base::Result<std::string> load() const;

  private:
    enum class Kind : uint8_t { None, File, Pem, System };
    RootSource(Kind kind, std::string value) : kind_(kind), value_(std::move(value)) {}
    Kind kind_ = Kind::None;
    std::string value_;
};

// Extra metadata from the environment: PREFIX_name=value becomes {name in lower case, value}, sorted by name. environment: NAME=value
// texts ended by a null pointer, as in environ(7).
[[nodiscard]] Headers headers_from(const char* const* environment, std::string_view prefix);

}  // namespace warren::xds
