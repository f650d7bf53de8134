// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/revocations.h"

#include "agent/cluster/node_name.h"
#include "base/bytes.h"

#include <algorithm>
#include <cctype>

namespace warren::cluster {

namespace {

constexpr size_t kMaxSerialDigits = 40;  // 20 octets: RFC 5280 4.1.2.2

std::string_view next_word(std::string_view& line) {
    const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!line.empty() && space(line.front())) line.remove_prefix(1);
    size_t n = 0;
    while (n < line.size() && !space(line[n])) ++n;
    const std::string_view word = line.substr(0, n);
    line.remove_prefix(n);
    return word;
}

// Colons as openssl prints them are allowed.
base::Result<std::string> serial_of(std::string_view word) {
    std::string digits;
    for (const char c : word) {
        if (c == ':') continue;
        if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return base::invalid("serial " + base::quoted(word) + " is not hexadecimal");
        digits.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    }
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    if (digits.empty() || digits.size() > kMaxSerialDigits)
        return base::invalid("serial " + base::quoted(word) + " is not a number of 1 to 40 hexadecimal digits");
    return digits.size() % 2 == 0 ? digits : "0" + digits;
}

base::Result<void> add_line(Revocations& into, std::string_view line) {
    line = line.substr(0, line.find('#'));
    const std::string_view kind = next_word(line);
    if (kind.empty()) return {};
    const std::string_view value = next_word(line);
    if (kind == "serial") {
        into.serials.insert(TRY(serial_of(value)));
    } else if (kind == "node") {
        TRY(check_node_name(value));
        into.nodes.emplace(value);
    } else {
        return base::invalid(base::quoted(kind) + " is neither \"serial HEX\" nor \"node NAME\"");
    }
    if (into.serials.size() + into.nodes.size() <= Revocations::kMaxEntries) return {};
    return base::invalid("more than " + std::to_string(Revocations::kMaxEntries) + " entries");
}

}  // namespace

base::Result<Revocations> parse_revocations(std::string_view text) {
    Revocations revoked;
    for (size_t number = 1; !text.empty(); ++number) {
        const size_t end = text.find('\n');
        if (auto added = add_line(revoked, text.substr(0, end)); !added)
            return std::move(added).error().with("line " + std::to_string(number));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return revoked;
}

}  // namespace warren::cluster
