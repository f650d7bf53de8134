// SPDX-License-Identifier: Apache-2.0
// Reads a whole small file: certificates, tokens, lists. Blocking, any thread. Errors name the path and carry the errno; NotFound when
// there is no such file, Exhausted when it is larger than the limit, which is never cut short. The content may be a secret: the caller
// wipes.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>

namespace warren::base {

[[nodiscard]] Result<std::string> read_small_file(const std::string& path, size_t max_bytes);

}  // namespace warren::base
