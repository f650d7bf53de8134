// SPDX-License-Identifier: Apache-2.0
// FlowDirectory: what the numbers and addresses of a kernel record stand for: pods and policies by the agent's ids, workloads by address.
// An immutable value that the agent's loop publishes after each change and the flow thread reads.
#pragma once

#include "policy/snapshot.h"
#include "policy/text.h"
#include "policy/workload.h"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace warren::node {

struct FlowPod {
    std::string uid;
    std::string ns, name, service_account;
    policy::WorkloadRef workload;  // null: the mesh does not know it (yet)
};

struct FlowDirectory {
    std::string node;
    std::string network;                                                // of this node's addresses
    std::string trust_domain;                                           // for pods without a workload record
    std::unordered_map<uint32_t, std::shared_ptr<const FlowPod>> pods;  // those that left too, until their last record can have been read
    std::shared_ptr<const std::unordered_map<uint32_t, std::string>> policies;  // id -> "namespace/name"
    std::shared_ptr<const policy::Snapshot> mesh;
};

}  // namespace warren::node
