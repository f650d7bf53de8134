// SPDX-License-Identifier: Apache-2.0
#include "agent/node/enrolment_store.h"

#include "agent/node/map_adoption.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace warren::node {

namespace {

// FNV-1a, 64 bits; equal on every machine and version, which std::hash is not.
uint64_t fnv(uint64_t seed, std::string_view text) {
    for (const char c : text) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    return (seed ^ 0xff) * 0x100000001b3u;  // ends a field: "ab","c" is not "a","bc"
}

struct MapKind {
    bpf_map_type type;
    const char* name;
    uint32_t key_size, value_size, entries;
};

base::Result<uint32_t> entries_of(int fd, const char* name) {
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return base::os_error("map info", name);
    return info.max_entries;
}

base::Result<base::Fd> get_or_make(const Pins& pins, const MapKind& kind) {
    base::Fd pinned = TRY(pins.get_map(kind.name));
    if (pinned && TRY(entries_of(pinned.get(), kind.name)) >= kind.entries) return pinned;
    base::Fd made(::bpf_map_create(kind.type, kind.name, kind.key_size, kind.value_size, kind.entries, nullptr));
    if (!made) return base::os_error("make map", kind.name);
    // wr_pods has grown, so this one must.
    if (pinned) TRY(copy_rows(kind.name, pinned.get(), made.get()));
    TRY(pins.pin_map(kind.name, made.get()));
    return made;
}

base::Result<uint32_t> highest_id(const Maps& maps, const TypedMap<wr_u64, PodOwner>& owners) {
    uint32_t highest = 0;
    for (const auto& row : TRY(maps.pods.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(maps.addrs.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(owners.rows())) highest = std::max(highest, row.second.id);
    for (const auto& row : TRY(maps.verdicts.rows())) highest = std::max({highest, row.first.source, row.first.destination});
    return highest;
}

}  // namespace

PodDigest digest_of(const Pod& pod) {
    PodDigest digest{0xcbf29ce484222325u, 0x9ae16a3b2f90404fu};
    for (uint64_t& half : digest)
        for (const std::string* text : {&pod.uid, &pod.name, &pod.namespace_name, &pod.service_account}) half = fnv(half, *text);
    return digest;
}

base::Result<EnrolmentStore> EnrolmentStore::open(const Pins& pins, const Maps& maps) {
    EnrolmentStore store;
    store.ids_fd_ = TRY(get_or_make(pins, {BPF_MAP_TYPE_ARRAY, "wr_agent_ids", sizeof(wr_u32), sizeof(wr_u64), 1}));
    store.owners_fd_ =
        TRY(get_or_make(pins, {BPF_MAP_TYPE_HASH, "wr_agent_owners", sizeof(wr_u64), sizeof(PodOwner), maps.pods.raw().capacity()}));
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
