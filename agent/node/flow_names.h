// SPDX-License-Identifier: Apache-2.0
// The words for a flow's enumerations in metrics, JSON lines and tables: the enumerator's own name in lower case without its prefix
// ("direct", "policy_denied", "unspecified"). Pure.
#pragma once

#include "proto/flow.pb.h"

#include <string_view>

namespace warren::node {

[[nodiscard]] std::string_view name_of(flow::v1::Direction direction);
[[nodiscard]] std::string_view name_of(flow::v1::Path path);
[[nodiscard]] std::string_view name_of(flow::v1::Verdict verdict);
[[nodiscard]] std::string_view name_of(flow::v1::IdentityProof proof);
[[nodiscard]] std::string_view name_of(flow::v1::CloseReason reason);

}  // namespace warren::node
