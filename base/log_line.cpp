// SPDX-License-Identifier: Apache-2.0
#include "base/log_line.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace warren::base::log {
namespace {

enum class Style : uint8_t { Bare, Quoted, Json };

bool plain(char c, Style style) {
    const auto b = static_cast<uint8_t>(c);
    return b >= 0x20 && b < 0x7f && (style == Style::Bare || (b != '"' && b != '\\'));
}

void append_special(std::string& out, char32_t point, Style style) {
    switch (point) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default: break;
    }
    const auto number = static_cast<uint32_t>(point);
    if (style == Style::Json)
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", number);
    else
        fmt::format_to(std::back_inserter(out), "\\u{{{:x}}}", number);
}

void append_escaped(std::string& out, std::string_view text, Style style) {
    const size_t whole = text.size();
    text = utf8_prefix(text, kMaxValueBytes);
    const bool cut = text.size() < whole;
    while (!text.empty()) {
        size_t run = 0;
        while (run < text.size() && plain(text[run], style)) ++run;
        out.append(text.substr(0, run));
        text.remove_prefix(run);
        if (text.empty()) break;
        const Utf8Char c = decode_utf8(text);
        if (!c.valid)
            out.append("\xef\xbf\xbd");
        else if (c.point < 0xa0)  // quotes, backslash, C0, DEL, C1
            append_special(out, c.point, style);
        else
            out.append(text.substr(0, c.length));
        text.remove_prefix(c.length);
    }
    if (cut) fmt::format_to(std::back_inserter(out), "... ({} bytes)", whole);
}

void append_string(std::string& out, std::string_view text, Style style) {
    out += '"';
    append_escaped(out, text, style);
    out += '"';
}

void append_double(std::string& out, double value, Format format) {
    if (std::isfinite(value))
        fmt::format_to(std::back_inserter(out), "{}", value);
    else
        append_string(out, std::isnan(value) ? "NaN" : value < 0 ? "-Inf" : "+Inf", format == Format::Json ? Style::Json : Style::Quoted);
}

void append_value(std::string& out, const Field& field, Format format) {
    const Style style = format == Format::Json ? Style::Json : Style::Quoted;
    switch (field.kind) {
        case Field::Kind::Absent: break;
        case Field::Kind::Bool: out += field.number.u ? "true" : "false"; break;
        case Field::Kind::Int: fmt::format_to(std::back_inserter(out), "{}", field.number.i); break;
        case Field::Kind::Uint: fmt::format_to(std::back_inserter(out), "{}", field.number.u); break;
        case Field::Kind::Double: append_double(out, field.number.d, format); break;
        case Field::Kind::String: append_string(out, field.text, style); break;
        case Field::Kind::Plain:
            if (format == Format::Json)
                append_string(out, field.text, style);
            else
                append_escaped(out, field.text, Style::Bare);
            break;
    }
}

void append_text(std::string& out, const Event& event) {
    out += to_rfc3339(event.time, 6);
    out += '\t';
    out += to_string(event.level);
    out += '\t';
    append_escaped(out, event.target, Style::Bare);
    out += '\t';
    append_escaped(out, event.message, Style::Bare);
    char before = '\t';
    for (const Field& field : event.fields) {
        if (field.kind == Field::Kind::Absent) continue;
        out += before;
        before = ' ';
        append_escaped(out, field.key, Style::Bare);
        out += '=';
        append_value(out, field, Format::Text);
    }
}

void append_json(std::string& out, const Event& event) {
    out += R"({"level":")";
    out += to_string(event.level);
    out += R"(","time":")";
    out += to_rfc3339(event.time, 6);
    out += R"(","scope":)";
    append_string(out, event.target, Style::Json);
    out += R"(,"message":)";
    append_string(out, event.message, Style::Json);
    for (const Field& field : event.fields) {
        if (field.kind == Field::Kind::Absent) continue;
        out += ',';
        append_string(out, field.key, Style::Json);
        out += ':';
        append_value(out, field, Format::Json);
    }
    out += '}';
}

}  // namespace

std::string_view to_string(Level level) noexcept {
    switch (level) {
        case Level::Off: return "off";
        case Level::Error: return "error";
        case Level::Warn: return "warn";
        case Level::Info: return "info";
        case Level::Debug: return "debug";
        case Level::Trace: return "trace";
    }
    return "off";
}

std::optional<Level> parse_level(std::string_view text) noexcept {
    const auto same = [&](std::string_view word) {
        if (word.size() != text.size()) return false;
        for (size_t i = 0; i < word.size(); ++i) {
            const char c = text[i];
            if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c) != word[i]) return false;
        }
        return true;
    };
    for (const Level level : {Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace})
        if (same(to_string(level))) return level;
    return std::nullopt;
}

std::optional<Format> parse_format(std::string_view text) noexcept {
    if (text == "json") return Format::Json;
    if (text == "plain" || text == "text") return Format::Text;
    return std::nullopt;
}

void append_line(std::string& out, Format format, const Event& event) {
    if (format == Format::Json)
        append_json(out, event);
    else
        append_text(out, event);
    out += '\n';
}

std::string quoted(std::string_view text) {
    std::string out;
    append_string(out, text, Style::Quoted);
    return out;
}

}  // namespace warren::base::log
