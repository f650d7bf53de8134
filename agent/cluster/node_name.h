// SPDX-License-Identifier: Apache-2.0
// How a node is named in its certificate: spiffe://<trust domain>/node/<name>. Three parts, where a workload's identity has five (contract
// 0), so no workload's name can be read as a node's nor the other way round, and a tunnel that is shown a node's certificate finds no
// identity in it. Names are DNS names (RFC 1123), as Kubernetes has them: nothing in them needs escaping. Pure; any thread.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace warren::cluster {

// 1 to 253 of a-z 0-9 '-' '.', beginning and ending with a letter or digit.
[[nodiscard]] base::Result<void> check_node_name(std::string_view name);
[[nodiscard]] std::string node_uri(std::string_view trust_domain, std::string_view node);
// The name, when the URI is a node's of this trust domain and the name is a legal one.
[[nodiscard]] base::Result<std::string> node_of_uri(std::string_view uri, std::string_view trust_domain);
[[nodiscard]] bool is_node_uri(std::string_view uri);

// '*' stands for any characters, none included. For names of at most 253 characters.
[[nodiscard]] bool matches_pattern(std::string_view pattern, std::string_view name);

}  // namespace warren::cluster
