// SPDX-License-Identifier: Apache-2.0
// Bootstrap tokens: what a node outside of Kubernetes shows once, to be given a certificate of its own. A token is 256 random bits; only
// its SHA-256 is kept, so the file of them is no secret worth stealing, and a fast hash is enough. The file (tokens.json):
//
//   {"tokens": [{"name": "rack-1", "sha256": "<64 hex>", "node": "rack-1-*", "expires": "2026-12-31T00:00:00Z", "uses": 20, "used": 3}]}
//
// "node" is the name the token is good for, '*' for any characters; "uses" how many certificates it buys (1 when it is not said), "used"
// how many it has bought. Reading a file is pure; TokenTable is for any thread, looks at its file again when it changed, and keeps the last
// good table (with a log line) when the new one is wrong. A file that goes away takes its tokens with it. Whoever changes the file holds
// the lock beside it, so that the controller's counting and the commands' edits do not undo each other.
#pragma once

#include "agent/cluster/state_file.h"
#include "base/clock.h"
#include "base/result.h"

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

struct BootstrapToken {
    std::string name;
    std::array<uint8_t, 32> sha256{};
    std::string node;  // a name or a pattern
    base::WallTime expires;
    uint32_t uses = 1, used = 0;
};
inline constexpr uint32_t kMaxUses = 10'000;
inline constexpr size_t kMaxTokens = 10'000;

// The error names the entry and the field; one bad entry refuses the file.
[[nodiscard]] base::Result<std::vector<BootstrapToken>> parse_tokens(std::string_view json);
[[nodiscard]] std::string write_tokens(const std::vector<BootstrapToken>& tokens);

// A new token's text, which nothing keeps: show it once and wipe it.
struct NewToken {
    std::string secret;
    BootstrapToken kept;
};
struct TokenSpec {
    std::string name, node;
    base::WallTime expires;
    uint32_t uses = 1;
};
[[nodiscard]] base::Result<NewToken> make_token(const TokenSpec& wanted);
// Makes one and adds it to the file (made 0600 when missing) under a lock beside it. Exists: the name is taken. Expired ones are dropped.
[[nodiscard]] base::Result<std::string> add_token(const std::string& path, const TokenSpec& wanted, base::WallTime now);
[[nodiscard]] base::Result<void> remove_token(const std::string& path, const std::string& name);

// Tokens of this kind, and not a Kubernetes one, by their first characters.
[[nodiscard]] bool looks_like_bootstrap_token(std::string_view bearer);

class TokenTable {
  public:
    // A file that is missing is an empty table; one that is wrong is an error.
    [[nodiscard]] static base::Result<std::unique_ptr<TokenTable>> open(std::string path, const base::Clock& clock);

    // Every entry is compared, each in constant time. Denied when there is none, it has expired or is used up.
    [[nodiscard]] base::Result<BootstrapToken> find(std::string_view bearer);
    // One use of a token that was found: when it returns without an error, the file says so, across a crash too, and a certificate may be
    // handed out. Denied when others were faster; another error when it could not be written down: nothing may be handed out then.
    [[nodiscard]] base::Result<void> consume(const BootstrapToken& token);
    [[nodiscard]] size_t size();

  private:
    using Tokens = std::shared_ptr<const std::vector<BootstrapToken>>;
    TokenTable(std::string path, const base::Clock& clock) : path_(std::move(path)), clock_(clock) {}
    base::Result<void> load();
    Tokens current();

    const std::string path_;
    const base::Clock& clock_;
    std::mutex mutex_;           // all below
    FileMark mark_, failed_;     // of what was read; of what could not be
    base::MonoTime retry_at_{};  // of the latter
    Tokens tokens_;
};

}  // namespace warren::cluster
