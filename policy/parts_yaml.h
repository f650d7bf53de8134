// SPDX-License-Identifier: Apache-2.0
// The three kinds of entry of a local mesh file, each read from its node. Internal to policy_yaml.
#pragma once

#include "policy/authorization.h"
#include "policy/fields_yaml.h"
#include "policy/service.h"
#include "policy/workload.h"

#include <optional>

namespace warren::policy {

// One endpoint of a service as its entry lists it, still to be given to the workload.
struct StaticEndpoint {
    Node at;
    std::string_view uid;
    std::optional<Health> status;
    WorkloadService membership;
};

base::Result<void> read_workload(Node node, TextPool& pool, Workload& to);
base::Result<void> read_service(Node node, TextPool& pool, Service& to, std::vector<StaticEndpoint>& endpoints);
base::Result<PolicySpec> read_policy(Node node, TextPool& pool);

base::Result<GatewayAddress> read_gateway(Node node, TextPool& pool);
base::Result<Array<PortPair>> read_port_map(Node node);
base::Result<Health> read_health(Node node);

}  // namespace warren::policy
