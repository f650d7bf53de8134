// SPDX-License-Identifier: Apache-2.0
// NodeRuns: which identity runs on which node, as the pods say, followed change by change. One thread. Memory: about 120 bytes a pod.
//
// A pod counts from when it is scheduled, before it has an address: its certificate is asked for while it starts (contract 4.3, check 5).
#pragma once

#include "agent/cluster/kube_objects.h"
#include "agent/cluster/object_change.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

class NodeRuns {
  public:
    explicit NodeRuns(std::string trust_domain) : trust_domain_(std::move(trust_domain)) {}

    using Run = std::pair<std::string, std::string>;  // node, identity
    struct Difference {
        std::vector<Run> gained, lost;
    };
    // As Conversion::update.
    Difference update(const Objects& objects, std::span<const Change> changes);

  private:
    using Counts = std::map<Run, size_t>;
    [[nodiscard]] std::optional<Run> run_of(const Pod& pod) const;
    void put(const std::string& key, const Pod* pod);

    const std::string trust_domain_;
    Counts counts_;  // of pods; some without a pod until the update ends
    std::unordered_map<std::string, Counts::iterator> by_pod_;
    std::map<Run, bool> touched_;  // whether it was there before the update
};

}  // namespace warren::cluster
