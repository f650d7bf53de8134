/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Questions to the maps that more than one hook asks. None of them writes. */
#ifndef WARREN_BPF_LOOKUP_H
#define WARREN_BPF_LOOKUP_H

#include "bpf/addr.h"
#include "bpf/maps.h"

/* Levels of the cgroup tree that are looked at; Kubernetes nests four to seven. */
#define WR_CGROUP_LEVELS 12

WR_INLINE struct wr_config* config_row(void) {
    wr_u32 zero = 0;

    return bpf_map_lookup_elem(&wr_config, &zero);
}

WR_INLINE struct wr_pod* pod_of(wr_u64 netns) { return bpf_map_lookup_elem(&wr_pods, &netns); }

WR_INLINE struct wr_local* local_at(const struct ip* address) { return bpf_map_lookup_elem(&wr_addrs, address); }

WR_INLINE int pod_has(const struct wr_pod* pod, const struct ip* address) {
    struct ip v4, v6;

    ip_load(&v4, &pod->v4);
    ip_load(&v6, &pod->v6);
    return ip_same(address, &v4) || ip_same(address, &v6);
}

/* The pod's address of the family of `like`; 0 when it has none. */
WR_INLINE int pod_own(const struct wr_pod* pod, const struct ip* like, struct ip* own) {
    ip_load(own, ip_is_v4(like) ? &pod->v4 : &pod->v6);
    return !ip_is_zero(own);
}

WR_INLINE int in_ranges(const struct ip* address) {
    struct wr_range_key key = {.prefix_bits = 128};

    ip_store(&key.address, address);
    return bpf_map_lookup_elem(&wr_ranges, &key) != NULL;
}

/* What wr_verdicts says; NULL when nothing. */
WR_INLINE struct wr_verdict_row* verdict_of(wr_u32 source, wr_u32 destination, wr_u16 port) {
    struct wr_verdict_key key = {.source = source, .destination = destination, .port = port};
    struct wr_verdict_row* row = bpf_map_lookup_elem(&wr_verdicts, &key);

    if (row) return row;
    key.port = 0;
    return bpf_map_lookup_elem(&wr_verdicts, &key);
}

/* Whether the calling process is in a cgroup of the map, or below one. The process, not the socket: a mark or an inherited socket proves
 * nothing. Level 0 is the root, which no row names.
 */
#define current_is_in(map)                                           \
    ({                                                               \
        int found_ = 0;                                              \
        for (int level_ = 1; level_ <= WR_CGROUP_LEVELS; level_++) { \
            wr_u64 id_ = bpf_get_current_ancestor_cgroup_id(level_); \
            if (!id_) break;                                         \
            if (bpf_map_lookup_elem(&(map), &id_)) {                 \
                found_ = 1;                                          \
                break;                                               \
            }                                                        \
        }                                                            \
        found_;                                                      \
    })

#endif
