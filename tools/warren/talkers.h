// SPDX-License-Identifier: Apache-2.0
// Talkers: flows summed by who talks to whom, with rates between two looks. A value of one thread; bounded by what the agent keeps.
#pragma once

#include "base/clock.h"
#include "tools/warren/flow_source.h"

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace warren::tools {

struct Talker {
    std::string from, to;
    size_t open = 0, ended = 0, denied = 0;
    uint64_t sent = 0, received = 0;  // bytes, of the flows the agent still knows
    double rate = 0;                  // bytes a second, both ways, since the look before; 0 at the first
    std::string path;                 // "mixed" when they differ
};

class Talkers {
  public:
    // Most busy first: by rate, then by bytes.
    [[nodiscard]] std::vector<Talker> look(const std::vector<Flow>& flows, base::MonoTime now);

  private:
    std::unordered_map<std::string, uint64_t> before_;  // bytes by flow
    base::MonoTime looked_;
    bool first_ = true;
};

}  // namespace warren::tools
