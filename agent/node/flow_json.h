// SPDX-License-Identifier: Apache-2.0
// A flow as people and scripts read it: one JSON object with the field names of proto/flow.proto, times in RFC 3339 UTC, addresses as
// "10.1.2.3:80", enumerations as the words of flow_names.h. What is empty or unset is left out. Pure.
#pragma once

#include "proto/flow.pb.h"

#include <string>

namespace warren::node {

[[nodiscard]] std::string flow_json(const flow::v1::Flow& flow);  // one line, no line feed

}  // namespace warren::node
