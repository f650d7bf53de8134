// SPDX-License-Identifier: Apache-2.0
// PolicyIds: numbers for policies in verdict rows and flow records, and the way back. A number is never given twice while the agent
// runs; a policy that is deleted and made again under its name keeps its own. Owned by the thread that computes verdicts.
#pragma once

#include "policy/snapshot.h"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace warren::node {

class PolicyIds {
  public:
    // From 1.
    uint32_t id_of(const policy::Text& key);
    // "namespace/name"; null: never given, or its policy went so long ago that the name was dropped.
    [[nodiscard]] const policy::Text* name_of(uint32_t id) const;
    // All of them, as an immutable value for other threads; the same one until something changes.
    using Names = std::unordered_map<uint32_t, std::string>;
    [[nodiscard]] std::shared_ptr<const Names> names();
    // Drops names of policies that the snapshot no longer has, once there are more than twice as many names as policies (and kFewest).
    void sweep(const policy::Snapshot& snapshot);
    [[nodiscard]] size_t size() const { return ids_.size(); }

    static constexpr size_t kFewest = 4096;

  private:
    std::unordered_map<policy::Text, uint32_t> ids_;
    std::unordered_map<uint32_t, policy::Text> names_;
    std::shared_ptr<const Names> published_;  // null: out of date
    uint32_t last_ = 0;
};

}  // namespace warren::node
