// SPDX-License-Identifier: Apache-2.0
// Tables for people: columns aligned by characters, two spaces between them, colour only where asked. Texts come from the mesh: control
// characters are shown as '?', so that a name cannot steer the terminal. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tools {

enum class Tone : uint8_t { Plain, Good, Warn, Bad, Dim };

struct Cell {
    Cell(std::string t, Tone n = Tone::Plain) : text(std::move(t)), tone(n) {}  // NOLINT(google-explicit-constructor)
    Cell(const char* t, Tone n = Tone::Plain) : text(t), tone(n) {}             // NOLINT(google-explicit-constructor)
    std::string text;
    Tone tone = Tone::Plain;
};

class Table {
  public:
    explicit Table(std::vector<std::string> heads);
    // At least so wide, for rows that are printed one by one.
    void widen(const std::vector<size_t>& widths);
    void add(std::vector<Cell> row);
    void sort();  // by the texts, from the first column on
    [[nodiscard]] size_t size() const { return rows_.size(); }

    [[nodiscard]] std::string head(bool colour) const;
    [[nodiscard]] std::string row(const std::vector<Cell>& cells, bool colour) const;
    [[nodiscard]] std::string render(bool colour) const;

  private:
    std::vector<std::string> heads_;
    std::vector<size_t> widths_;
    std::vector<std::vector<Cell>> rows_;
};

// With the escape sequences of the tone around it.
[[nodiscard]] std::string paint(std::string_view text, Tone tone, bool colour);
// Control characters and bytes that are no UTF-8 replaced.
[[nodiscard]] std::string harmless(std::string_view text);
// "999", "1.2K", "34.5M": powers of 1000 for counts and bytes.
[[nodiscard]] std::string short_number(double value);

}  // namespace warren::tools
