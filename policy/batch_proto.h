// SPDX-License-Identifier: Apache-2.0
// One response of a control plane as one change of the mesh (data-plane contract 3.4): what reads goes into the batch; what does not is
// named with its reason, and the rest counts. A policy that does not read is put in force as a refusal, so that a workload which lists it
// is denied unless an earlier version still stands. Pure, but for the pool: call where it is owned.
#pragma once

#include "policy/mesh_proto.h"
#include "policy/snapshot.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::policy {

struct ResourceBytes {
    std::string_view name;
    std::span<const uint8_t> body;
};

struct RefusedResource {
    std::string name;
    std::string reason;
};

// istio.workload.Address resources. refused is added to.
void read_addresses(ResourceReader& reader, std::span<const ResourceBytes> resources, Batch& batch, std::vector<RefusedResource>& refused);
// istio.security.Authorization resources. What `refused` holds already (names that could not even be unpacked) becomes refusals as well.
void read_policies(ResourceReader& reader, TextPool& pool, std::span<const ResourceBytes> resources, Batch& batch,
                   std::vector<RefusedResource>& refused);

}  // namespace warren::policy
