// SPDX-License-Identifier: Apache-2.0
// Findings of `check` and `policy audit`: what was looked at, how bad it is, and the way out. Values.
#pragma once

#include "tools/warren/context.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warren::tools {

enum class Severity : uint8_t { Ok, Note, Warning, Error };
[[nodiscard]] std::string_view to_string(Severity severity);

struct Finding {
    Severity severity = Severity::Ok;
    std::string area;  // "kernel", "ports", ...
    std::string what;  // with the value seen
    std::string fix;   // "" when nothing is to be done
};
using Findings = std::vector<Finding>;

// Prints them, worst last so that they stay on the screen; quiet leaves out what is in order. kFindings with any of `from` or worse.
[[nodiscard]] int report(const Context& context, const Findings& findings, bool quiet, Severity from);

}  // namespace warren::tools
