// SPDX-License-Identifier: Apache-2.0
// Workloads, services and policies as the JSON of data-plane contract 9.7, which is also what the local mesh file takes. Pure; any thread.
#pragma once

#include "policy/snapshot.h"

#include <nlohmann/json.hpp>

namespace warren::ztunnel {

[[nodiscard]] nlohmann::json workload_json(const policy::Workload& workload);
[[nodiscard]] nlohmann::json service_json(const policy::ServiceEntry& entry);
[[nodiscard]] nlohmann::json endpoints_json(const policy::ServiceEntry& entry);
[[nodiscard]] nlohmann::json policy_json(const policy::Policy& policy);

}  // namespace warren::ztunnel
