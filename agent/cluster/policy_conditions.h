// SPDX-License-Identifier: Apache-2.0
// What the author of an AuthorizationPolicy is told (Kubernetes contract 2.9, 3.3, 3.5). The reading that decides what is enforced decides
// this too, so the two cannot differ. Pure functions, and PolicyTargets, of one thread.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_objects.h"
#include "agent/cluster/object_change.h"
#include "agent/cluster/waypoints.h"

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace warren::cluster {

// ZtunnelAccepted, of a policy that is for node proxies. problems: of its conversion; enforced: something came out of it.
[[nodiscard]] Told ztunnel_accepted(const AuthorizationPolicy& policy, bool enforced, const Diagnostics& problems);

// What one is told that could not be read, whomever it is for.
[[nodiscard]] Told unread(const AuthorizationPolicy& policy);

// What became of one target of a policy.
struct Ancestor {
    bool bound = false;
    std::string reason, message;
};
// WaypointAccepted, of a policy with these targets; there is one.
[[nodiscard]] Told waypoint_accepted(std::span<const Ancestor> ancestors);

// The policies that are for waypoints, and whether their targets pass one. A waypoint is programmed by another controller: what is told is
// that the policy has found one, not that it is in force there. Memory: these policies' targets.
class PolicyTargets {
  public:
    // Null, or without a target: the policy is not for waypoints, or gone, or does not count.
    void put(const std::string& key, const AuthorizationPolicy* policy);
    void clear() { policies_.clear(); }

    struct Mesh {
        const Objects& objects;
        const Waypoints& waypoints;
        const std::string& root_namespace;
        std::function<const Told*(ObjectKind, const std::string& key)> bound;  // WaypointBound of an object; null: it names no waypoint
    };
    // tell(key, meta, told) for each, in the order of their keys.
    void settle(const Mesh& mesh, const std::function<void(const std::string&, const ObjectMeta&, Told)>& tell) const;

  private:
    struct Policy {
        ObjectMeta meta;
        std::vector<PolicyTarget> targets;
    };
    std::map<std::string, Policy> policies_;  // by "NS/NAME"
};

}  // namespace warren::cluster
