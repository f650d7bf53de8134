// SPDX-License-Identifier: Apache-2.0
// Small files whole: certificates, tokens, lists, kept state. Blocking, any thread. Errors name the path and carry the errno. The content
// may be a secret: the caller wipes.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace warren::base {

// NotFound when there is no such file, Exhausted when it is larger than the limit, which is never cut short.
[[nodiscard]] Result<std::string> read_small_file(const std::string& path, size_t max_bytes);

// Written beside, synced, renamed: after it returns, the path has the new content even across a power cut; a reader sees the old or the
// new one, never a part.
[[nodiscard]] Result<void> replace_small_file(const std::string& path, std::string_view content, unsigned mode = 0600);
// What was made, renamed or removed in the folder stays so across a power cut.
[[nodiscard]] Result<void> sync_folder(const std::string& path);

}  // namespace warren::base
