// SPDX-License-Identifier: Apache-2.0
// The cluster's NetworkPolicies as an API server has them, and what they mean for a pod. One that does not read, or for which there is no
// room, shuts all pods of its namespace in both directions: they take the tunnel, which is always right. Reading is pure over foreign
// bytes, any thread, and fuzzed (tests/fuzz/network_policy.cpp); NetworkPolicies is its owner's thread's.
#pragma once

#include "agent/node/kube_pod.h"
#include "agent/node/network_policy.h"
#include "base/result.h"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace warren::node {

// An object of networking.k8s.io/v1. Strict: what it does not understand it refuses, but for peers, which then match nobody.
base::Result<NetworkPolicy> read_network_policy(std::string_view json);

struct NetworkPolicyLimits {
    size_t policies = 4096;
    size_t bytes = size_t{8} << 20;  // of their JSON, which is more than what is kept of it
};

class NetworkPolicies {
  public:
    explicit NetworkPolicies(NetworkPolicyLimits limits = {}) : limits_(limits) {}

    // The object's own namespace and name come from the watch, which knows them where the object does not read. An error: it shuts its
    // namespace, and why.
    base::Result<void> put(const std::string& ns, const std::string& name, std::string_view json);
    void remove(const std::string& ns, const std::string& name);

    // Null while there is no policy at all.
    [[nodiscard]] PodNetworkRef network_of(const KubePod& pod, const Labels& ns_labels) const;
    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] size_t unread() const { return unread_; }

  private:
    struct Kept {
        NetworkPolicyRef policy;
        size_t bytes = 0;  // 0: not read
    };
    NetworkPolicyLimits limits_;
    std::map<std::string, std::map<std::string, Kept>> by_namespace_;
    size_t size_ = 0, unread_ = 0, bytes_ = 0;
};

}  // namespace warren::node
