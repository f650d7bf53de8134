// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/bootstrap_token.h"

#include "agent/cluster/node_name.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/small_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

namespace warren::cluster {

namespace {

using Json = nlohmann::json;

const base::log::Area kLog("ca");

constexpr std::string_view kPrefix = "warren-join-";  // a mark for people, scanners of leaked secrets, and the order of authentication
constexpr std::chrono::seconds kRetry{1};             // of a file that could not be read
constexpr size_t kMaxFile = 8UL * 1024 * 1024, kMaxName = 128, kMaxBearer = 512;

std::array<uint8_t, 32> hash_of(std::string_view text) {
    std::array<uint8_t, 32> hash{};
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
    return hash;
}

std::optional<std::array<uint8_t, 32>> from_hex(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
    std::array<uint8_t, 32> bytes{};
    if (text.size() != 2 * bytes.size()) return std::nullopt;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return bytes;
}

base::Result<std::string> text_of(const Json& entry, const char* field) {
    const auto found = entry.find(field);
    if (found == entry.end() || !found->is_string()) return base::invalid(std::string(field) + ": a text is wanted");
    return found->get<std::string>();
}

base::Result<void> check_name(const std::string& name) {
    const bool good =
        !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
    return good ? base::Result<void>()
                : base::invalid("name " + base::quoted(name) + " is not 1 to 128 printable characters without spaces");
}

// A pattern is a node name when its stars are letters.
base::Result<void> check_pattern(const std::string& pattern) {
    std::string name = pattern;
    std::replace(name.begin(), name.end(), '*', 'x');
    return check_node_name(name) ? base::Result<void>()
                                 : base::invalid("node " + base::quoted(pattern) + " is neither a node name nor one with '*'");
}

base::Result<uint32_t> count_of(const Json& entry, const char* field, uint32_t least, uint32_t absent) {
    const auto found = entry.find(field);
    if (found == entry.end()) return absent;
    const bool good = found->is_number_unsigned() && found->get<uint64_t>() >= least && found->get<uint64_t>() <= kMaxUses;
    if (!good) return base::invalid(std::string(field) + ": a number from " + std::to_string(least) + " to 10000 is wanted");
    return static_cast<uint32_t>(found->get<uint64_t>());
}

base::Result<void> check_good(const BootstrapToken& token, base::WallTime now) {
    if (token.expires <= now) return base::Error{base::Errc::Denied, 0, "", "bootstrap token " + token.name + " has expired"};
    if (token.used < token.uses) return {};
    return base::Error{
        base::Errc::Denied, 0, "",
        "bootstrap token " + token.name + " is used up (" + std::to_string(token.uses) + " of " + std::to_string(token.uses) + ")"};
}

base::Result<BootstrapToken> token_of(const Json& entry) {
    if (!entry.is_object()) return base::invalid("an object is wanted");
    for (const auto& [key, value] : entry.items())
        if (key != "name" && key != "sha256" && key != "node" && key != "expires" && key != "uses" && key != "used")
            return base::invalid(base::quoted(key) + " is not a field of a token");
    BootstrapToken token;
    token.name = TRY(text_of(entry, "name"));
    TRY(check_name(token.name));
    const auto hash = from_hex(TRY(text_of(entry, "sha256")));
    if (!hash) return base::invalid("sha256: 64 lower-case hexadecimal digits are wanted");
    token.sha256 = *hash;
    token.node = TRY(text_of(entry, "node"));
    TRY(check_pattern(token.node));
    auto expires = base::parse_rfc3339(TRY(text_of(entry, "expires")));
    if (!expires) return std::move(expires).error().with("expires");
    token.expires = *expires;
    token.uses = TRY(count_of(entry, "uses", 1, 1));
    token.used = TRY(count_of(entry, "used", 0, 0));
    return token;
}

}  // namespace

base::Result<std::vector<BootstrapToken>> parse_tokens(std::string_view json) {
    const Json file = Json::parse(json, nullptr, false);
    if (!file.is_object() || file.size() != 1 || !file.contains("tokens") || !file["tokens"].is_array())
        return base::invalid("not a JSON object with one field, a list of tokens");
    if (file["tokens"].size() > kMaxTokens) return base::invalid("more than " + std::to_string(kMaxTokens) + " tokens");
    std::vector<BootstrapToken> tokens;
    std::set<std::string> names;
    for (const Json& entry : file["tokens"]) {
        auto token = token_of(entry);
        const std::string where = "tokens[" + std::to_string(tokens.size()) + "]";
        if (!token) return std::move(token).error().with(where);
        if (!names.insert(token->name).second) return base::invalid(where + ": the name " + base::quoted(token->name) + " stands twice");
        tokens.push_back(std::move(*token));
    }
    return tokens;
}

std::string write_tokens(const std::vector<BootstrapToken>& tokens) {
    Json list = Json::array();
    for (const BootstrapToken& t : tokens)
        list.push_back({{"name", t.name},
                        {"sha256", base::to_hex(t.sha256)},
                        {"node", t.node},
                        {"expires", base::to_rfc3339(t.expires, 0)},
                        {"uses", t.uses},
                        {"used", t.used}});
    return Json{{"tokens", list}}.dump(2) + "\n";
}

base::Result<NewToken> make_token(const TokenSpec& wanted) {
    TRY(check_name(wanted.name));
    TRY(check_pattern(wanted.node));
    if (wanted.uses == 0 || wanted.uses > kMaxUses)
        return base::invalid("uses: " + std::to_string(wanted.uses) + " is not a number from 1 to 10000");
    std::array<uint8_t, 32> random{};
    if (RAND_bytes(random.data(), random.size()) != 1) return base::Error{base::Errc::Internal, 0, "token", "no random numbers"};
    NewToken made;
    // One allocation of the final size, so that no copy of the secret is left behind.
    made.secret.reserve(kPrefix.size() + 2 * random.size());
    std::string hex = base::to_hex(random);
    made.secret.append(kPrefix).append(hex);
    base::wipe(hex);
    base::wipe(std::span<uint8_t>(random));
    made.kept = {wanted.name, hash_of(made.secret), wanted.node, wanted.expires, wanted.uses, 0};
    return made;
}

namespace {
base::Result<void> edit(const std::string& path, const std::function<base::Result<void>(std::vector<BootstrapToken>&)>& change) {
    const base::Fd lock = TRY(lock_file(path + ".lock"));
    auto text = base::read_small_file(path, kMaxFile);
    if (!text && text.error().code != base::Errc::NotFound) return std::move(text).error();
    std::vector<BootstrapToken> tokens;
    if (text) {
        auto parsed = parse_tokens(*text);
        if (!parsed) return std::move(parsed).error().with(path);
        tokens = std::move(*parsed);
    }
    TRY(change(tokens));
    return base::replace_small_file(path, write_tokens(tokens));
}
}  // namespace

base::Result<std::string> add_token(const std::string& path, const TokenSpec& wanted, base::WallTime now) {
    if (wanted.expires <= now) return base::invalid("expires: " + base::to_rfc3339(wanted.expires, 0) + " has passed");
    NewToken made = TRY(make_token(wanted));
    TRY(edit(path, [&](std::vector<BootstrapToken>& tokens) -> base::Result<void> {
        std::erase_if(tokens, [&](const BootstrapToken& t) { return t.expires <= now; });
        if (std::any_of(tokens.begin(), tokens.end(), [&](const BootstrapToken& t) { return t.name == wanted.name; }))
            return base::Error{base::Errc::Exists, 0, "", "a token named " + base::quoted(wanted.name) + " is there already"};
        if (tokens.size() >= kMaxTokens)
            return base::Error{base::Errc::Exhausted, 0, "", "there are " + std::to_string(kMaxTokens) + " tokens already"};
        tokens.push_back(made.kept);
        return {};
    }));
    return std::move(made.secret);
}

base::Result<void> remove_token(const std::string& path, const std::string& name) {
    return edit(path, [&](std::vector<BootstrapToken>& tokens) -> base::Result<void> {
        if (std::erase_if(tokens, [&](const BootstrapToken& t) { return t.name == name; }) > 0) return {};
        return base::Error{base::Errc::NotFound, 0, "", "there is no token named " + base::quoted(name)};
    });
}

bool looks_like_bootstrap_token(std::string_view bearer) { return bearer.starts_with(kPrefix); }

base::Result<std::unique_ptr<TokenTable>> TokenTable::open(std::string path, const base::Clock& clock) {
    std::unique_ptr<TokenTable> table(new TokenTable(std::move(path), clock));
    // What a crash left of an edit. Somebody who edits now keeps the lock, and his file.
    const size_t slash = table->path_.rfind('/');
    if (slash != std::string::npos)
        if (const auto lock = lock_file(table->path_ + ".lock"))
            remove_temporaries(table->path_.substr(0, slash), table->path_.substr(slash + 1));
    table->mark_ = mark_of(table->path_);
    TRY(table->load());
    return table;
}

// Under the lock, or before anybody else has it.
base::Result<void> TokenTable::load() {
    auto text = base::read_small_file(path_, kMaxFile);
    if (!text && text.error().code == base::Errc::NotFound) {
        tokens_ = std::make_shared<const std::vector<BootstrapToken>>();
        return {};
    }
    auto parsed = text ? parse_tokens(*text) : base::Result<std::vector<BootstrapToken>>(std::move(text).error());
    if (!parsed) return std::move(parsed).error().with(path_);
    tokens_ = std::make_shared<const std::vector<BootstrapToken>>(std::move(*parsed));
    return {};
}

TokenTable::Tokens TokenTable::current() {
    const std::lock_guard lock(mutex_);
    const FileMark seen = mark_of(path_);
    const base::MonoTime now = clock_.now();
    if (seen == mark_ || (seen == failed_ && now < retry_at_)) return tokens_;
    if (const auto loaded = load(); loaded) {
        mark_ = seen;
        failed_ = {};
    } else {
        if (!(seen == failed_))
            WARREN_LOG(kLog, base::log::Level::Error, "bootstrap tokens are not taken; those before stay",
                       {"error", loaded.error().message()});
        failed_ = seen;
        retry_at_ = now + kRetry;
    }
    return tokens_;
}

base::Result<BootstrapToken> TokenTable::find(std::string_view bearer) {
    const Tokens tokens = current();
    const base::Error unknown{base::Errc::Denied, 0, "", "the bootstrap token is unknown"};
    if (bearer.size() > kMaxBearer) return unknown;
    const auto hash = hash_of(bearer);
    const BootstrapToken* found = nullptr;
    for (const BootstrapToken& one : *tokens)
        if (CRYPTO_memcmp(one.sha256.data(), hash.data(), hash.size()) == 0) found = &one;
    if (found == nullptr) return unknown;
    TRY(check_good(*found, clock_.wall()));
    return *found;
}

// The file is what counts, not what was read of it before: two that show the token at once are told apart here, and so are two replicas
// on one state.
base::Result<void> TokenTable::consume(const BootstrapToken& token) {
    return edit(path_, [&](std::vector<BootstrapToken>& tokens) -> base::Result<void> {
        for (BootstrapToken& one : tokens) {
            if (one.sha256 != token.sha256) continue;
            TRY(check_good(one, clock_.wall()));
            ++one.used;
            return {};
        }
        return base::Error{base::Errc::Denied, 0, "", "bootstrap token " + token.name + " is revoked"};
    });
}

size_t TokenTable::size() { return current()->size(); }

}  // namespace warren::cluster
