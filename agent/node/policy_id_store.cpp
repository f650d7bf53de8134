// SPDX-License-Identifier: Apache-2.0
#include "agent/node/policy_id_store.h"

#include "agent/node/map_adoption.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace warren::node {

base::Result<PolicyIdStore> PolicyIdStore::open(const Pins& pins, const Maps& maps) {
    PolicyIdStore store;
    store.last_fd_ = TRY(own_map(pins, {BPF_MAP_TYPE_ARRAY, "wr_policy_last", sizeof(wr_u32), sizeof(wr_u32), 1, 0}));
    store.given_fd_ = TRY(own_map(pins, {BPF_MAP_TYPE_HASH, "wr_policy_ids", sizeof(Digest), sizeof(wr_u32), kMost, BPF_F_NO_PREALLOC}));
    store.last_ = TRY((TypedMap<wr_u32, wr_u32>::bind("wr_policy_last", store.last_fd_.get())));
    store.given_ = TRY((TypedMap<Digest, wr_u32>::bind("wr_policy_ids", store.given_fd_.get())));
    uint32_t highest = TRY(store.last_.lookup(0)).value_or(0);
    for (const auto& row : TRY(maps.verdicts.rows())) highest = std::max(highest, row.second.policy);
    TRY(store.last_.update(0, highest));
    return store;
}

base::Result<void> PolicyIdStore::restore(PolicyIds& ids) const {
    const auto given = TRY(given_.rows());
    ids.resume(TRY(last_.lookup(0)).value_or(0), given);
    return {};
}

base::Result<void> PolicyIdStore::keep(PolicyIds& ids) const {
    const PolicyIds::Changes changes = ids.take_changes();
    if (!changes.given.empty()) TRY(last_.update(0, ids.last()));
    for (const Digest& name : changes.dropped) (void)TRY(given_.erase(name));
    std::optional<base::Error> failed;
    for (const auto& [name, id] : changes.given) {
        if (auto kept = given_.update(name, id); !kept) failed = std::move(kept).error();
    }
    if (failed) return *std::move(failed);
    return {};
}

}  // namespace warren::node
