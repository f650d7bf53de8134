// SPDX-License-Identifier: Apache-2.0
// PolicyIdStore: the numbers of policies (policy_ids.h) in two small maps of the agent's own, pinned with the rows that carry them; no
// program reads them. A successor goes on counting where its predecessor stopped, and knows the numbers of policies that are still there:
// a flow record never names another policy than the one that decided, at worst none. The agent's loop.
#pragma once

#include "agent/node/maps.h"
#include "agent/node/pins.h"
#include "agent/node/policy_ids.h"
#include "agent/node/typed_map.h"
#include "base/fd.h"
#include "base/result.h"

#include <vector>

namespace warren::node {

class PolicyIdStore {
  public:
    // More names than this are not remembered over a restart.
    static constexpr uint32_t kMost = 16384;

    // Numbers found in verdict rows are taken as given, should the store have been lost.
    static base::Result<PolicyIdStore> open(const Pins& pins, const Maps& maps);

    [[nodiscard]] base::Result<void> restore(PolicyIds& ids) const;
    // Before any row with these numbers is written. A name that finds no room is a number without a name after the next restart.
    [[nodiscard]] base::Result<void> keep(PolicyIds& ids) const;

  private:
    base::Fd last_fd_, given_fd_;
    TypedMap<wr_u32, wr_u32> last_;
    TypedMap<Digest, wr_u32> given_;
};

}  // namespace warren::node
