// SPDX-License-Identifier: Apache-2.0
// Certificates as a dump lists them. Pure.
#pragma once

#include "base/clock.h"
#include "tools/warren/json.h"

#include <string>

namespace warren::tools {

// Now is between its two times; times that do not read count as over.
[[nodiscard]] bool certificate_valid(const Json& certificate, base::WallTime now);
// A decimal number of at most 160 bits (RFC 5280, 4.1.2.2) in hexadecimal; what is none stays as it is.
[[nodiscard]] std::string hexadecimal(const std::string& decimal);

}  // namespace warren::tools
