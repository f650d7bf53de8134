// SPDX-License-Identifier: Apache-2.0
// Conversion outputs as JSON for people and tests: protobuf's JSON form (camel case, enums by name, default values left out), except that
// addresses are text. Pure.
#pragma once

#include "agent/cluster/convert.h"

#include <string>

namespace warren::cluster {

// {"authorizations": {KEY: ...}, "services": ..., "workloads": ...}, indented. The policy istio_converted_static_strict is left out: it
// says nothing of the objects.
[[nodiscard]] std::string to_json(const Outputs& outputs, const Settings& settings);

}  // namespace warren::cluster
