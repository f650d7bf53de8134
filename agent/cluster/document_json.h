// SPDX-License-Identifier: Apache-2.0
// JSON text as a Document, with lines and paths. Parsed event by event (yaml-cpp would take JSON too, but holds a whole {...} at hundreds
// of bytes per byte). Bounded in size, nodes and depth. Values only, no thread affinity.
#pragma once

#include "base/result.h"
#include "policy/document.h"

#include <string_view>

namespace warren::cluster {

enum class Lines : bool { Off, On };
// name: how errors call the text, usually a file name.
base::Result<policy::Document> document_from_json(std::string_view text, std::string_view name, Lines lines = Lines::On);

}  // namespace warren::cluster
