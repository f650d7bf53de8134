// SPDX-License-Identifier: Apache-2.0
// PolicyIds: numbers for policies in verdict rows and flow records, and the way back. A number is never given twice, not by a restarted
// agent either: connections and pinned rows of the time before carry the old ones. A policy that is deleted and made again under its name
// keeps its own. Owned by the thread that computes verdicts; what outlives the agent is policy_id_store.h's.
#pragma once

#include "agent/node/digest.h"
#include "policy/snapshot.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::node {

class PolicyIds {
  public:
    using Given = std::pair<Digest, uint32_t>;  // of the name, and its number

    // What an earlier agent gave, before the first id_of. A name is known again once the mesh has it; until then its number has none.
    void resume(uint32_t last, const std::vector<Given>& given);
    // From 1. 0, which is no policy's, after four billion.
    uint32_t id_of(const policy::Text& key);
    // "namespace/name"; null: never given, or its policy went (before a restart, or so long ago that the name was dropped).
    [[nodiscard]] const policy::Text* name_of(uint32_t id) const;
    // All of them, as an immutable value for other threads; the same one until something changes.
    using Names = std::unordered_map<uint32_t, std::string>;
    [[nodiscard]] std::shared_ptr<const Names> names();
    // Drops names of policies that the snapshot no longer has, once there are more than twice as many names as policies (and kFewest).
    void sweep(const policy::Snapshot& snapshot);
    [[nodiscard]] size_t size() const { return ids_.size() + earlier_.size(); }

    // The highest number given, and what is to be remembered or forgotten since the last call.
    [[nodiscard]] uint32_t last() const { return last_; }
    struct Changes {
        std::vector<Given> given;
        std::vector<Digest> dropped;
    };
    [[nodiscard]] Changes take_changes() { return std::exchange(changes_, {}); }

    static constexpr size_t kFewest = 4096;

  private:
    std::unordered_map<policy::Text, uint32_t> ids_;
    std::unordered_map<uint32_t, policy::Text> names_;
    std::map<Digest, uint32_t> earlier_;      // given before the restart, not seen again yet
    std::shared_ptr<const Names> published_;  // null: out of date
    Changes changes_;
    uint32_t last_ = 0;
};

}  // namespace warren::node
