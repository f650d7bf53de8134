// SPDX-License-Identifier: Apache-2.0
// Takes secrets out of what leaves the machine in a bug report: private keys (also in base64), bearer and JSON web tokens, and values of
// keys whose name says so (password, secret, token, authorization, key). Rather too much than too little. Pure.
#pragma once

#include "tools/warren/json.h"

#include <string>

namespace warren::tools {

[[nodiscard]] std::string redact_text(const std::string& text);
// By member names too.
[[nodiscard]] Json redact_json(const Json& j);

}  // namespace warren::tools
