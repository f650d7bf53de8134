// SPDX-License-Identifier: Apache-2.0
// What Kubernetes' NetworkPolicies leave of plain TCP between two pods of this node. Whoever enforces them sees the application's port on
// the same-node path and 15008 through the tunnel, so where they would not let the path through, the tunnel has to be taken.
//
// Only what a policy plainly allows counts as allowed. An ipBlock counts as nothing: whether it applies to pods is left to who enforces it.
// What we say no to here is not refused, it takes the tunnel. Policies of other kinds (AdminNetworkPolicy, a CNI's own) are not known.
// Values and pure functions; any thread. Source: Kubernetes API networking.k8s.io/v1, NetworkPolicySpec.
#pragma once

#include "agent/node/label_selector.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace warren::node {

struct PortRange {
    uint16_t first = 1, last = 65535;
    bool operator==(const PortRange&) const = default;
    auto operator<=>(const PortRange&) const = default;
};
// Ascending, with something between one and the next.
using Ports = std::vector<PortRange>;
[[nodiscard]] bool all_ports(const Ports& ports);

struct NetworkPolicy {
    struct Peer {
        LabelSelector pods;
        std::optional<LabelSelector> namespaces;  // none: the policy's own namespace
    };
    struct Port {
        PortRange range;
        std::string name;  // not empty: instead of the range, a port of the destination's containers
    };
    struct Rule {
        bool any_peer = false, any_port = false;
        std::vector<Peer> peers;
        std::vector<Port> ports;
    };
    struct Direction {
        bool governed = false;  // for the pods that it selects; what no rule of all such policies allows is shut
        std::vector<Rule> rules;
        [[nodiscard]] size_t weight() const;  // labels, values and ports that a question may have to look at
    };
    std::string ns, name;
    LabelSelector pods;
    Direction ingress, egress;
};
using NetworkPolicyRef = std::shared_ptr<const NetworkPolicy>;

// A pod before NetworkPolicies.
struct PodNetwork {
    std::string ns;
    Labels labels, ns_labels;
    std::map<std::string, uint16_t> ports;          // of its containers, TCP, by name
    std::vector<NetworkPolicyRef> ingress, egress;  // those that leave something out; empty: nothing does

    bool operator==(const PodNetwork&) const = default;
};

// The same by value; null: no NetworkPolicy concerns anybody here.
struct PodNetworkRef {
    std::shared_ptr<const PodNetwork> pod;
    friend bool operator==(const PodNetworkRef& a, const PodNetworkRef& b) {
        return a.pod == b.pod || (a.pod && b.pod && *a.pod == *b.pod);
    }
};

// policies: of the pod's namespace, immutable. A pod selected by more than a question may cost counts as shut in that direction.
[[nodiscard]] PodNetwork select_policies(PodNetwork pod, const std::vector<NetworkPolicyRef>& policies);

struct OpenPorts {
    Ports ports = {PortRange{}};
    bool ingress = false, egress = false;  // which side leaves something out
};
// Of `to`, for `from`, another pod: none can be kept from itself.
[[nodiscard]] OpenPorts open_ports(const PodNetwork& from, const PodNetwork& to);

}  // namespace warren::node
