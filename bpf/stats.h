/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One counter for every way out. Atomic although per CPU: cgroup programs run with migration off but preemption on, so two tasks may be
 * between load and store of the same slot.
 */
#ifndef WARREN_BPF_STATS_H
#define WARREN_BPF_STATS_H

#include "bpf/maps.h"

WR_INLINE void count(enum wr_stat stat) {
    wr_u32 key = stat;
    wr_u64* slot = bpf_map_lookup_elem(&wr_stats, &key);

    if (slot) __sync_fetch_and_add(slot, 1);
}

#endif
