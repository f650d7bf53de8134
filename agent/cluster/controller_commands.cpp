// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/controller_commands.h"

#include "agent/cluster/authority.h"
#include "agent/cluster/bootstrap_token.h"
#include "agent/cluster/object_folder.h"
#include "base/bytes.h"
#include "base/small_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <charconv>

namespace warren::cluster {

namespace {

constexpr size_t kMaxTokenFile = size_t{16} << 20;
constexpr std::chrono::hours kTokenLife{24};

std::string lines(const std::vector<std::string>& texts, size_t count, const char* kind) {
    std::string out;
    for (const std::string& text : texts) out += kind + text + "\n";
    if (count > texts.size()) out += kind + ("and " + std::to_string(count - texts.size()) + " more like these\n");
    return out;
}

// Value of "--name VALUE" or "--name=VALUE"; the words without it.
base::Result<std::string> take_option(std::vector<std::string>& words, const std::string& name, std::string absent) {
    for (size_t i = 0; i < words.size(); ++i) {
        if (words[i].starts_with(name + "=")) {
            std::string value = words[i].substr(name.size() + 1);
            words.erase(words.begin() + static_cast<std::ptrdiff_t>(i));
            return value;
        }
        if (words[i] != name) continue;
        if (i + 1 == words.size()) return base::invalid(name + ": its value is missing");
        std::string value = words[i + 1];
        words.erase(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
        return value;
    }
    return absent;
}

base::Result<std::chrono::nanoseconds> duration(const std::string& text) {
    std::chrono::nanoseconds value{};
    base::config::Schema one;
    one.duration({.name = "--expires", .env = {"x"}, .help = "x"}, value, std::chrono::minutes(1), std::chrono::hours(24 * 3650));
    if (!one.read({.args = {}, .env = [&](const char*) { return text.c_str(); }}))
        return base::invalid("--expires: " + base::quoted(text) + " is no time from 1m to 87600h; give it as 24h or 30m");
    return value;
}

base::Result<uint32_t> count(const std::string& text) {
    uint32_t value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() || value == 0 || value > kMaxUses)
        return base::invalid("--uses: " + base::quoted(text) + " is not a number from 1 to " + std::to_string(kMaxUses));
    return value;
}

base::Result<CommandResult> create_token(std::vector<std::string> words, const std::string& path, base::WallTime now) {
    const std::string node = TRY(take_option(words, "--node", ""));
    const auto life = TRY(duration(TRY(take_option(words, "--expires", std::to_string(kTokenLife.count()) + "h"))));
    const uint32_t uses = TRY(count(TRY(take_option(words, "--uses", "1"))));
    if (words.size() != 2 || node.empty()) return base::invalid("use: token create NAME --node NODE-OR-PATTERN [--expires 24h] [--uses 1]");
    CommandResult out;
    std::string secret =
        TRY(add_token(path, {words[1], node, now + std::chrono::duration_cast<base::WallTime::duration>(life), uses}, now));
    out.out = secret + "\n";
    out.err = "shown this once; nothing keeps it. Good for " +
              (uses == 1 ? std::string("one certificate") : std::to_string(uses) + " certificates") + " of node " + node + "\n";
    base::wipe(secret);
    return out;
}

base::Result<CommandResult> list_tokens(const std::string& path, base::WallTime now) {
    CommandResult out;
    auto text = base::read_small_file(path, kMaxTokenFile);
    if (!text && text.error().code == base::Errc::NotFound) return out;
    if (!text) return std::move(text).error();
    auto tokens = parse_tokens(*text);
    if (!tokens) return std::move(tokens).error().with(path);
    for (const BootstrapToken& token : *tokens)
        out.out += token.name + "\tnode " + token.node + "\t" + (token.expires <= now ? "expired " : "until ") +
                   base::to_rfc3339(token.expires, 0) + "\tused " + std::to_string(token.used) + " of " + std::to_string(token.uses) + "\n";
    return out;
}

std::string rotation_text(const RotationState& r) {
    std::string out = "root expires " + base::to_rfc3339(r.root_expires, 0) + ", issuer " + base::to_rfc3339(r.issuer_expires, 0) + "\n";
    switch (r.phase) {
        case RotationState::Phase::Steady: return out + "no rotation is on\n";
        case RotationState::Phase::Overlap: return out + "a new root is trusted; it signs from " + base::to_rfc3339(r.next_step, 0) + "\n";
        case RotationState::Phase::Retiring: break;
    }
    return out + "the new root signs; the old one is trusted until " + base::to_rfc3339(r.next_step, 0) + "\n";
}

}  // namespace

CommandResult check_command(const std::string& folder, const Settings& settings) {
    const base::RealClock clock;
    ObjectFolder objects(folder, clock);
    CommandResult out;
    if (auto scan = objects.scan({{}, true}); !scan) return {1, "", scan.error().message() + "\n"};
    size_t refused = 0;
    for (const auto& [name, file] : objects.files()) {
        out.err += lines(file.errors, file.error_count, "");
        refused += file.error_count != 0 ? 1 : 0;
    }
    Diagnostics problems;
    const Outputs outputs = convert(objects.store().objects(), settings, problems);
    out.err += lines(problems.errors(), problems.error_count(), "");
    out.err += lines(problems.warnings(), problems.warning_count(), "warning: ");
    out.exit_code = refused != 0 || problems.error_count() != 0 ? 1 : 0;
    out.out = std::to_string(objects.files().size()) + " files, " + std::to_string(refused) + " refused; " +
              std::to_string(outputs.workloads.size()) + " workloads, " + std::to_string(outputs.services.size()) + " services, " +
              std::to_string(outputs.authorizations.size()) + " policies\n";
    return out;
}

base::Result<CommandResult> token_command(const std::vector<std::string>& words, const ControllerSettings& settings) {
    const base::WallTime now = base::RealClock().wall();
    const std::string path = settings.tokens_path();
    if (::mkdir(settings.state.c_str(), 0755) != 0 && errno != EEXIST) return base::os_error("mkdir", settings.state);
    if (!words.empty() && words[0] == "create") return create_token(words, path, now);
    if (words.size() == 1 && words[0] == "list") return list_tokens(path, now);
    if (words.size() == 2 && words[0] == "revoke") {
        TRY(remove_token(path, words[1]));
        return CommandResult{0, "",
                             "revoked: nobody joins with it any more. A node that has joined keeps its certificate; to revoke a node, see "
                             "docs/controller.md\n"};
    }
    return base::invalid("use: token create NAME --node NODE-OR-PATTERN [--expires 24h] [--uses 1] | token list | token revoke NAME");
}

base::Result<CommandResult> root_command(const std::vector<std::string>& words, const ControllerSettings& settings) {
    const base::RealClock clock;
    if (words.size() != 1 || (words[0] != "status" && words[0] != "rotate" && words[0] != "hasten" && words[0] != "print"))
        return base::invalid("use: root status | root rotate | root hasten | root print");
    if (::mkdir(settings.state.c_str(), 0755) != 0 && errno != EEXIST) return base::os_error("mkdir", settings.state);
    const auto authority = TRY(Authority::open(settings.authority, clock));
    if (words[0] == "print") return CommandResult{0, authority->trust()->roots_pem, ""};
    if (words[0] == "rotate") TRY(authority->begin_rotation());
    if (words[0] == "hasten") TRY(authority->hasten_rotation());
    return CommandResult{0, rotation_text(authority->rotation()), ""};
}

}  // namespace warren::cluster
