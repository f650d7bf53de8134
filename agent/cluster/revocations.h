// SPDX-License-Identifier: Apache-2.0
// The file in which an operator says what is no longer to be believed: "serial HEX [why]" revokes one certificate, "node NAME [why]" a node
// with every certificate it has; '#' begins a comment. Pure; any thread. An error names the line; a file with an error counts for nothing,
// so that the state before stays in force.
#pragma once

#include "base/result.h"

#include <set>
#include <string>
#include <string_view>

namespace warren::cluster {

struct Revocations {
    static constexpr size_t kMaxEntries = 100'000;
    std::set<std::string> serials;  // upper-case hex, an even number of digits, as serial_hex gives them
    std::set<std::string, std::less<>> nodes;
};
[[nodiscard]] base::Result<Revocations> parse_revocations(std::string_view text);

}  // namespace warren::cluster
