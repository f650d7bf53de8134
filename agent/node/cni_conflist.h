// SPDX-License-Identifier: Apache-2.0
// Edits of CNI configuration lists (CNI specification 1.1.0, section 1) as text: one element goes in or out, every other byte stays where
// it is, so that taking ours out again gives the file back as it was. Pure functions over the files of others, any thread; fuzzed
// (tests/fuzz/cni_conflist.cpp). What is not a list that a runtime could use is refused, never repaired.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace warren::node {

// The text with the element (a JSON object with a "type") in it. An equal element that stands behind another one stays where it is; an
// outdated one of the type is replaced.
base::Result<std::string> conflist_with(std::string_view text, std::string_view element);
// Without any element of the type. Refused when nothing would be left: that is no configuration.
base::Result<std::string> conflist_without(std::string_view text, std::string_view type);
[[nodiscard]] bool conflist_has(std::string_view text, std::string_view type);

// A single plugin's configuration as a list (Kubernetes contract 1.5, step 3).
base::Result<std::string> conflist_of_single(std::string_view text);

}  // namespace warren::node
