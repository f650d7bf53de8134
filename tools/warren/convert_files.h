// SPDX-License-Identifier: Apache-2.0
// `warren convert -f FILE...`: what node proxies would be told of these Kubernetes objects, as JSON.
#pragma once

#include "agent/cluster/convert.h"
#include "base/result.h"

#include <string>
#include <vector>

namespace warren::tools {

struct ConvertOptions {
    std::vector<std::string> files;  // "-" is standard input; of a folder the .yaml, .yml and .json files, not those of folders inside
    cluster::Settings settings;
};

struct ConvertResult {
    std::string text;                // JSON; empty when an object could not be read, for a controller refuses its file
    std::vector<std::string> notes;  // for standard error: errors, warnings, kinds passed over
    bool ok = false;                 // no errors, neither of reading nor of conversion
};

// An Error only when a file cannot be read.
[[nodiscard]] base::Result<ConvertResult> convert_files(const ConvertOptions& options);

}  // namespace warren::tools
