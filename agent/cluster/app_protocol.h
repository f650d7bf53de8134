// SPDX-License-Identifier: Apache-2.0
// What a port speaks, from its name or appProtocol (Kubernetes contract 2.7). For telemetry: nothing at this layer depends on it.
#pragma once

#include "agent/cluster/kube_objects.h"
#include "proto/workload.pb.h"

#include <string_view>

namespace warren::cluster {

[[nodiscard]] istio::workload::AppProtocol app_protocol(const ServicePort& port);
// "http", "GRPC": a whole word, in any case. UNKNOWN also for words that are known and have no place in the enum.
[[nodiscard]] istio::workload::AppProtocol app_protocol_of_word(std::string_view word);

}  // namespace warren::cluster
