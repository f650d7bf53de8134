// SPDX-License-Identifier: Apache-2.0
// What of recorded flows would be decided otherwise under other policies. Each flow that a policy judged is judged again, with the identity
// the record proves (an identity looked up by address is none), by the engine the daemons use. Pure.
#pragma once

#include "policy/snapshot.h"
#include "tools/warren/flow_record.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace warren::tools {

struct FlowChange {
    std::string from, to;    // as shown
    std::string was, would;  // "allowed", "denied"
    std::string was_policy, policy, reason;
    uint64_t flows = 0;
    base::WallTime latest;
};

struct FlowDiff {
    uint64_t judged = 0;              // again
    uint64_t unchanged = 0;           // the same verdict
    uint64_t not_judged = 0;          // the record has no verdict of a policy: the destination's node decides, or no policy was asked
    uint64_t unknown_workload = 0;    // the destination is not in the mesh any more
    std::vector<FlowChange> changes;  // most flows first
};

class FlowDiffer {
  public:
    explicit FlowDiffer(const policy::Snapshot& mesh) : mesh_(mesh) {}  // outlives this
    void add(const FlowRecord& flow);
    [[nodiscard]] FlowDiff result() const;

  private:
    const policy::Snapshot& mesh_;
    FlowDiff diff_;
    std::map<std::vector<std::string>, FlowChange> changes_;
};

}  // namespace warren::tools
