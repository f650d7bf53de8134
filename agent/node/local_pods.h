// SPDX-License-Identifier: Apache-2.0
// LocalPod: a pod of this node as a pod source found it and as wr_pods holds it (bpf/abi.h). A value; any thread.
#pragma once

#include "agent/node/network_policy.h"
#include "agent/node/same_node.h"
#include "base/ip.h"
#include "bpf/abi.h"
#include "policy/text.h"

#include <optional>

namespace warren::node {

struct LocalPod {
    uint32_t id = 0;     // of wr_pods, never 0, never reused
    uint64_t netns = 0;  // cookie of its namespace
    uint32_t flags = 0;  // wr_pod_flag
    std::optional<base::IpAddr> v4;
    std::optional<base::IpAddr> v6;
    // Who it is. A source that knows no names leaves them empty; then the workload's uid finds the record, else the address.
    policy::Text uid;  // of the workload's record; empty: unknown
    policy::Text name;
    policy::Text ns;
    policy::Text service_account;
    std::optional<SameNode> same_node;  // the annotation; one that does not parse is reported by the source and stands here as Encrypted
    PodNetworkRef network;              // null with any pod: no NetworkPolicy is between it and others

    [[nodiscard]] bool enrolled() const { return (flags & WR_POD_OBSERVED) == 0; }
    bool operator==(const LocalPod&) const = default;
};

}  // namespace warren::node
