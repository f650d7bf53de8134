// SPDX-License-Identifier: Apache-2.0
// FieldPath: where in a nested message a value stands, for example "rules[0].clauses[1].matches[0].source_ips[2]". A chain on the
// stack: a step costs nothing until an error asks for the text. Each step borrows the one above it, which the caller's frame holds.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace warren::policy {

struct FieldPath {
    static constexpr size_t kNoIndex = ~size_t{0};

    const FieldPath* up = nullptr;
    std::string_view name;
    size_t index = kNoIndex;

    [[nodiscard]] std::string to_string() const {
        std::string text = up != nullptr ? up->to_string() : std::string();
        if (!text.empty() && !name.empty()) text += '.';
        text += name;
        if (index != kNoIndex) text.append("[").append(std::to_string(index)).append("]");
        return text;
    }
    // "source_ips[2]: 3 address bytes; give 4 or 16"
    [[nodiscard]] base::Error refuse(std::string_view why) const { return base::invalid(to_string().append(": ").append(why)); }
};

}  // namespace warren::policy
