// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/table.h"

#include "base/utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace warren::tools {
namespace {

constexpr size_t kGap = 2;

size_t width_of(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string harmless(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const base::Utf8Char c = base::decode_utf8(text);
        const bool control = c.point < 0x20 || (c.point >= 0x7f && c.point < 0xa0) || (c.point >= 0x202a && c.point <= 0x202e);
        if (!c.valid || control)
            out += '?';
        else
            out.append(text.substr(0, c.length));
        text.remove_prefix(c.length);
    }
    return out;
}

std::string paint(std::string_view text, Tone tone, bool colour) {
    if (!colour || tone == Tone::Plain) return std::string(text);
    const char* code = tone == Tone::Good ? "32" : tone == Tone::Warn ? "33" : tone == Tone::Bad ? "31" : "2";
    return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string short_number(double value) {
    const char* units[] = {"", "K", "M", "G", "T", "P", "E"};
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
    return unit == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}{}", value, units[unit]);
}

Table::Table(std::vector<std::string> heads) : heads_(std::move(heads)) {
    for (const std::string& head : heads_) widths_.push_back(width_of(head));
}

void Table::widen(const std::vector<size_t>& widths) {
    for (size_t i = 0; i < std::min(widths.size(), widths_.size()); ++i) widths_[i] = std::max(widths_[i], widths[i]);
}

void Table::add(std::vector<Cell> row) {
    for (size_t i = 0; i < row.size(); ++i) {
        row[i].text = harmless(row[i].text);
        if (i < widths_.size()) widths_[i] = std::max(widths_[i], width_of(row[i].text));
    }
    rows_.push_back(std::move(row));
}

void Table::sort() {
    std::sort(rows_.begin(), rows_.end(), [](const auto& a, const auto& b) {
        return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                            [](const Cell& x, const Cell& y) { return x.text < y.text; });
    });
}

std::string Table::row(const std::vector<Cell>& cells, bool colour) const {
    std::string out, gap;
    for (size_t i = 0; i < cells.size(); ++i) {
        const std::string text = harmless(cells[i].text);
        out += text.empty() ? "" : gap + paint(text, cells[i].tone, colour);
        if (!text.empty()) gap.clear();
        if (i < widths_.size()) gap.append(std::max(widths_[i], width_of(text)) - width_of(text) + kGap, ' ');
    }
    return out + '\n';  // nothing trails
}

std::string Table::head(bool colour) const {
    std::vector<Cell> cells;
    for (const std::string& head : heads_) cells.emplace_back(head, Tone::Dim);
    return row(cells, colour);
}

std::string Table::render(bool colour) const {
    std::string out = head(colour);
    for (const auto& cells : rows_) out += row(cells, colour);
    return out;
}

}  // namespace warren::tools
