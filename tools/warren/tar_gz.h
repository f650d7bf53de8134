// SPDX-License-Identifier: Apache-2.0
// Texts as a .tar.gz (POSIX ustar, RFC 1952), made in memory. zlib stays inside. Pure.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace warren::tools {

// Names are at most 99 bytes; mtime in Unix seconds. Files are root's, readable by their owner alone.
[[nodiscard]] base::Result<std::string> tar_gz(const std::vector<std::pair<std::string, std::string>>& files, int64_t mtime);

}  // namespace warren::tools
