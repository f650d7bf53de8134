// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include "base/log_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <set>

namespace warren::base::config {
namespace {

constexpr size_t kReadBytes = (1 << 20) + 1;  // one more than read_yaml takes, so that it refuses and nothing is cut silently

Result<std::string> read_file(const std::string& path) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), [](FILE* f) { return std::fclose(f); });
    if (!file) return os_error("open", path);
    std::string text(kReadBytes, '\0');
    errno = 0;
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get())) return os_error("read", path);
    return text;
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> items;
    for (size_t from = 0; from <= text.size() && !text.empty();) {
        const size_t comma = std::min(text.find(',', from), text.size());
        items.push_back(text.substr(from, comma - from));
        from = comma + 1;
    }
    return items;
}

// Edits between two names: for the suggestion of an error.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '|') out += '\\';
        out += c == '\n' ? ' ' : c;
    }
    return out;
}

std::string code(std::string_view text) { return text.empty() ? "" : fmt::format("`{}`", cell(text)); }

}  // namespace

const Setting* Effective::find(std::string_view name) const {
    const auto at = std::find_if(settings.begin(), settings.end(), [&](const Setting& s) { return s.name == name; });
    return at == settings.end() ? nullptr : &*at;
}

std::string Effective::text() const {
    std::string out;
    for (const Setting& s : settings) out += fmt::format("{}: {}  # {}\n", s.name, log::quoted(s.value), s.origin);
    return out;
}

// A schema that contradicts itself is our bug; told as one, and before any input is looked at.
Result<void> Schema::check() const {
    std::set<std::string_view> names, variables, flags{"--config", "--help"};
    for (const Option& o : options_) {
        const auto bug = [&](std::string_view what) {
            return Error{Errc::Internal, 0, "declare option", fmt::format("{}: {}", o.decl.name, what)};
        };
        if (o.decl.name.empty() || !names.insert(o.decl.name).second) return bug("name empty or declared twice");
        for (const std::string& e : o.decl.env)
            if (!variables.insert(e).second) return bug("variable declared twice");
        if (o.decl.flag.empty()) continue;
        if (!o.decl.flag.starts_with("--") || !flags.insert(o.decl.flag).second) return bug("flag without -- or declared twice");
    }
    return {};
}

std::vector<FlagSpec> Schema::flags() const {
    std::vector<FlagSpec> specs;
    for (const Option& o : options_)
        if (!o.decl.flag.empty()) specs.push_back({o.decl.flag, o.decl.name, o.type, o.initial, o.decl.help, o.list});
    return specs;
}

Error Schema::unknown_key(const RawValue& value) const {
    const Option* nearest = nullptr;
    size_t best = 4;  // further away it is another word, not a slip
    for (const Option& o : options_) {
        // Names are short; a key of a megabyte would cost minutes.
        if (const size_t d = value.name.size() > 256 ? best : distance(value.name, o.decl.name); d < best) best = d, nearest = &o;
    }
    std::string text = fmt::format("{}: unknown key {}", value.origin, log::quoted(value.name));
    if (value.shape == RawValue::Shape::Scalar) text += fmt::format(" (value {})", log::quoted(value.items[0]));
    if (nearest) return invalid(fmt::format("{}; did you mean \"{}\" ({})?", text, nearest->decl.name, nearest->allowed));
    text += "; known keys: ";
    for (const Option& o : options_) text += (&o == &options_.front() ? "" : ", ") + o.decl.name;
    return invalid(std::move(text));
}

// All values given anywhere, the stronger source later.
Result<std::vector<RawValue>> Schema::gather(const Sources& sources, Flags flags) const {
    std::vector<RawValue> values;
    const std::string& path = flags.config.empty() ? sources.file : flags.config;
    if (sources.file_text && flags.config.empty()) {
        values = TRY(read_yaml(*sources.file_text, path));
    } else if (!path.empty()) {
        Result<std::string> text = read_file(path);
        if (text)
            values = TRY(read_yaml(*text, path));
        else if (text.error().code != Errc::NotFound || !sources.file_may_be_missing || !flags.config.empty())
            return std::move(text).error().with("configuration file");
    }
    for (const Option& o : options_) {
        for (const std::string& variable : o.decl.env) {
            const char* text = sources.env ? sources.env(variable.c_str()) : std::getenv(variable.c_str());
            if (!text) continue;
            values.push_back({o.decl.name, {text}, RawValue::Shape::Scalar, "environment variable " + variable});
            break;
        }
    }
    std::move(flags.values.begin(), flags.values.end(), std::back_inserter(values));
    return values;
}

Result<Parsed> Schema::accept(const Option& option, const RawValue& value) const {
    const auto refuse = [&](std::string_view what, std::string_view detail) {
        const std::string more = detail.empty() ? "" : fmt::format("; {}", detail);
        return invalid(fmt::format("{}: {}: {} (allowed: {}{})", value.origin, option.decl.name, what, option.allowed, more));
    };
    if (value.shape == RawValue::Shape::Null) return refuse("has no value", "");
    if (value.shape == RawValue::Shape::EmptyMap) return refuse("is a mapping", "");
    if (value.shape == RawValue::Shape::Sequence && !option.list) return refuse("is a list", "");
    const bool one_text = option.list && value.shape == RawValue::Shape::Scalar;
    Result<Parsed> parsed = option.parse(one_text ? split(value.items[0]) : value.items);
    if (parsed) return parsed;
    const std::string text = fmt::format("{}", fmt::join(value.items, ","));
    return refuse(fmt::format("{} is not allowed", log::quoted(std::string_view(text).substr(0, 200))), parsed.error().detail);
}

Result<Effective> Schema::read(const Sources& sources) const {
    TRY(check());
    Effective effective;
    Flags flags = TRY(read_flags(this->flags(), sources.args));
    effective.help = flags.help;
    if (flags.help) return effective;
    const std::vector<RawValue> values = TRY(gather(sources, std::move(flags)));

    struct Chosen {
        Parsed parsed;
        std::string origin;
    };
    std::map<std::string_view, Chosen> chosen;
    for (const RawValue& value : values) {
        const auto option = std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.decl.name == value.name; });
        const std::string inside = value.name + ".";
        const bool group = std::any_of(options_.begin(), options_.end(), [&](const Option& o) { return o.decl.name.starts_with(inside); });
        if (option == options_.end() && group && value.shape == RawValue::Shape::EmptyMap) continue;  // "a: {}" says nothing
        if (option == options_.end()) return unknown_key(value);
        chosen.insert_or_assign(option->decl.name, Chosen{TRY(accept(*option, value)), value.origin});
    }
    for (const Option& o : options_) {
        const auto at = chosen.find(o.decl.name);
        if (at == chosen.end()) {
            effective.settings.push_back({o.decl.name, o.initial, "default", false});
            continue;
        }
        at->second.parsed.commit();
        effective.settings.push_back({o.decl.name, at->second.parsed.canonical, at->second.origin, true});
    }
    return effective;
}

std::string Schema::help(const std::string& program) const { return flags_help(flags(), program); }

std::string Schema::reference() const {
    std::string out = "| key | environment | flag | type | default | allowed | meaning |\n|---|---|---|---|---|---|---|\n";
    for (const Option& o : options_) {
        std::string variables;
        for (const std::string& e : o.decl.env) variables += (variables.empty() ? "" : ", ") + code(e);
        out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", code(o.decl.name), variables, code(o.decl.flag), o.type,
                           code(o.initial), cell(o.allowed), cell(o.decl.help));
    }
    return out;
}

}  // namespace warren::base::config
