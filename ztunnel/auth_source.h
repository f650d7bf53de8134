// SPDX-License-Identifier: Apache-2.0
// Where the control channels (certificate service, xDS) get their bearer token and their roots from (data-plane contract 2.2, 2.6, 3.7,
// 10.2: AUTH_TOKEN, CA_ROOT_CA, CA_HEADER_*). Blocking reads of small files; any thread. Tokens are secrets: read anew for each request,
// wiped by the caller, never logged; errors name the path, never the content.
#pragma once

#include "base/file_watch.h"
#include "base/result.h"

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::ztunnel {

class TokenSource {
  public:
    // setting: the value of AUTH_TOKEN, empty when it is unset. An existing file, a literal token, else the default file, else no token.
    [[nodiscard]] static TokenSource from_setting(std::string_view setting, const std::string& default_path);
    TokenSource() = default;
    static TokenSource file(std::string path) { return {Kind::File, std::move(path)}; }
    static TokenSource literal(std::string token) { return {Kind::Literal, std::move(token)}; }
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

// Roots as PEM, with a mark that says they may have changed since the last load(). Only those of a file ever do.
class RootSource {
  public:
    // setting: the value of CA_ROOT_CA: an existing file, SYSTEM, else PEM text. A path that does not exist is an error.
    [[nodiscard]] static base::Result<std::unique_ptr<RootSource>> from_setting(const std::string& setting, base::FileWatcher* watcher);
    RootSource(const RootSource&) = delete;
    RootSource& operator=(const RootSource&) = delete;

    // The certificates of it that can be read; none is an error.
    [[nodiscard]] base::Result<std::string> load() const;
    // Is it marked? Takes the mark away.
    [[nodiscard]] bool take_dirty() { return dirty_.exchange(false); }
    void make_dirty() { dirty_.store(true); }

  private:
    enum class Kind : uint8_t { File, Pem, System };
    RootSource(Kind kind, std::string value) : kind_(kind), value_(std::move(value)) {}
    const Kind kind_;
    const std::string value_;
    std::atomic<bool> dirty_ = false;
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

// Extra metadata from the environment: PREFIX_name=value becomes {name in lower case, value}, sorted by name. environment: NAME=value
// texts ended by a null pointer, as in environ(7).
[[nodiscard]] std::vector<std::pair<std::string, std::string>> headers_from(const char* const* environment, std::string_view prefix);

}  // namespace warren::ztunnel
