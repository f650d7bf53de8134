// SPDX-License-Identifier: Apache-2.0
#include "agent/node/enrolment_store.h"

#include "agent/node/map_adoption.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace warren::node {

namespace {

base::Result<uint32_t> highest_id(const Maps& maps, const TypedMap<wr_u64, PodOwner>& owners) {
    uint32_t highest = 0;
    for (const auto& row : TRY(maps.pods.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(maps.addrs.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(owners.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(maps.verdicts.rows())) highest = std::max({highest, row.first.source, row.first.destination});
    return highest;
}

}  // namespace

PodDigest digest_of(const Pod& pod) { return digest_of({pod.uid, pod.name, pod.namespace_name, pod.service_account}); }

base::Result<EnrolmentStore> EnrolmentStore::open(const Pins& pins, const Maps& maps) {
    EnrolmentStore store;
    store.ids_fd_ = TRY(own_map(pins, {BPF_MAP_TYPE_ARRAY, "wr_agent_ids", sizeof(wr_u32), sizeof(wr_u64), 1, 0}));
    store.owners_fd_ =
        TRY(own_map(pins, {BPF_MAP_TYPE_HASH, "wr_agent_owners", sizeof(wr_u64), sizeof(PodOwner), maps.pods.raw().capacity(), 0}));
    store.ids_ = TRY((TypedMap<wr_u32, wr_u64>::bind("wr_agent_ids", store.ids_fd_.get())));
    store.owners_ = TRY((TypedMap<wr_u64, PodOwner>::bind("wr_agent_owners", store.owners_fd_.get())));
    const uint64_t next = TRY(store.ids_.lookup(0)).value_or(0);
    const uint64_t least = uint64_t{TRY(highest_id(maps, store.owners_))} + 1;
    if (next < least) TRY(store.ids_.update(0, least));
    return store;
}

base::Result<uint32_t> EnrolmentStore::next_id() {
    const uint64_t id = TRY(ids_.lookup(0)).value_or(1);
    if (id > std::numeric_limits<uint32_t>::max())
        return base::Error{base::Errc::Exhausted, 0, "enrol", "all ids of pods were given; uninstall and start the agent anew"};
    // Written before it is used: an agent that dies in between skips an id.
    TRY(ids_.update(0, id + 1));
    return static_cast<uint32_t>(id);
}

}  // namespace warren::node
