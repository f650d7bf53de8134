// SPDX-License-Identifier: Apache-2.0
#include "base/metrics_text.h"

#include "base/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace warren::base::metrics {
namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

bool valid_name(std::string_view name, bool colons) noexcept {
    if (name.empty() || digit(name.front())) return false;
    return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c) || (colons && c == ':'); });
}

// Backslash and line feed always, quotes where asked; the page must be valid UTF-8.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
    while (!text.empty()) {
        size_t run = 0;
        while (run < text.size() && static_cast<uint8_t>(text[run]) < 0x80 && text[run] != '\\' && text[run] != '\n' && text[run] != '"')
            ++run;
        out.append(text.substr(0, run));
        text.remove_prefix(run);
        if (text.empty()) break;
        const Utf8Char c = decode_utf8(text);
        if (c.point == '\n')
            out += "\\n";
        else if (c.point == '\\' || (c.point == '"' && quotes))
            (out += '\\') += static_cast<char>(c.point);
        else
            append_valid_utf8(out, text.substr(0, c.length));
        text.remove_prefix(c.length);
    }
}

void append_number(std::string& out, double value) {
    if (std::isnan(value))
        out += "NaN";
    else if (std::isinf(value))
        out += value < 0 ? "-Inf" : "+Inf";
    else if (value == std::floor(value) && std::fabs(value) < 9e15)  // below 2^53: whole numbers are exact, and read better whole
        fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(value));
    else
        fmt::format_to(std::back_inserter(out), "{}", value);
}

void append_name(std::string& out, std::string_view name, std::string_view labels) {
    out += name;
    if (!labels.empty()) ((out += '{') += labels) += '}';
    out += ' ';
}

}  // namespace

bool valid_metric_name(std::string_view name) noexcept { return valid_name(name, true); }
bool valid_label_name(std::string_view name) noexcept { return valid_name(name, false) && !name.starts_with("__"); }

void append_labels(std::string& out, std::span<const Label> labels) {
    for (const auto& [name, value] : labels) {
        if (&name != &labels.front().first) out += ',';
        out += name;
        out += "=\"";
        append_escaped(out, value, true);
        out += '"';
    }
}

void append_head(std::string& out, Exposition exposition, Type type, std::string_view name, std::string_view help) {
    const bool open = exposition == Exposition::OpenMetrics;
    if (open && type == Type::Counter && name.ends_with("_total")) name.remove_suffix(6);
    ((out += "# HELP ") += name) += ' ';
    append_escaped(out, help, open);
    ((out += "\n# TYPE ") += name) += type == Type::Counter ? " counter\n" : type == Type::Gauge ? " gauge\n" : " histogram\n";
}

void append_sample(std::string& out, std::string_view name, std::string_view labels, uint64_t value) {
    append_name(out, name, labels);
    fmt::format_to(std::back_inserter(out), "{}\n", value);
}

void append_sample(std::string& out, std::string_view name, std::string_view labels, int64_t value) {
    append_name(out, name, labels);
    fmt::format_to(std::back_inserter(out), "{}\n", value);
}

void append_sample(std::string& out, std::string_view name, std::string_view labels, double value) {
    append_name(out, name, labels);
    append_number(out, value);
    out += '\n';
}

void append_bucket(std::string& out, Exposition exposition, std::string_view name, std::string_view labels, double bound, uint64_t value) {
    ((out += name) += "_bucket{") += labels;
    out += labels.empty() ? "le=\"" : ",le=\"";
    const size_t start = out.size();
    append_number(out, bound);
    if (exposition == Exposition::OpenMetrics && std::isfinite(bound) && out.find_first_of(".e", start) == std::string::npos) out += ".0";
    fmt::format_to(std::back_inserter(out), "\"}} {}\n", value);
}

}  // namespace warren::base::metrics
