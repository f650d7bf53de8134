// SPDX-License-Identifier: Apache-2.0
// YAML text as Documents. Parsed by yaml-cpp's event parser within fixed bounds of size and look-ahead; aliases are refused (they are how a
// small file becomes a huge one). Never YAML::Load or LoadAll, which do not end on some texts. Values only, no thread affinity.
#pragma once

#include "base/result.h"
#include "policy/document.h"

#include <string_view>
#include <vector>

namespace warren::policy {

// The parser reads ahead to the end of a [...] or {...} before it reports any of it, at up to 300 bytes of memory for each byte.
constexpr size_t kMaxYamlLookAhead = size_t{1} << 20;
constexpr size_t kMaxYamlDocuments = 500'000;
// Objects that nobody reads stand beside those that are read: the schema inside a CustomResourceDefinition nests this deep.
constexpr size_t kMaxObjectDepth = 128;

// name: how errors call the text, usually a file name. Exactly one document.
base::Result<Document> document_from_yaml(std::string_view text, std::string_view name);
// Documents between "---" lines, as Kubernetes' tools write them; those with nothing in them are left out.
base::Result<std::vector<Document>> documents_from_yaml(std::string_view text, std::string_view name);

}  // namespace warren::policy
