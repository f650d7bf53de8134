/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every map, once. Weak, so that each program file may include this and the static linker keeps one. Rows are in abi.h; sizes are defaults
 * that the loader may change before it loads. Hashes are not preallocated: memory follows use. wr_handover and wr_announced are plain
 * hashes and never LRU: an eviction would be a wrong destination, so a full map refuses instead.
 */
#ifndef WARREN_BPF_MAPS_H
#define WARREN_BPF_MAPS_H

#include "bpf/kernel.h"

#define WR_HASH(name, key_type, value_type, entries) \
    struct {                                         \
        __uint(type, BPF_MAP_TYPE_HASH);             \
        __uint(map_flags, BPF_F_NO_PREALLOC);        \
        __uint(max_entries, entries);                \
        __type(key, key_type);                       \
        __type(value, value_type);                   \
    } name __weak SEC(".maps")

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, wr_u32);
    __type(value, struct wr_config);
} wr_config __weak SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WR_STAT_COUNT);
    __type(key, wr_u32);
    __type(value, wr_u64);
} wr_stats __weak SEC(".maps");

WR_HASH(wr_pods, wr_u64, struct wr_pod, 4096);
WR_HASH(wr_addrs, struct wr_addr, struct wr_local, 8192);
WR_HASH(wr_tunnels, wr_u64, wr_u32, 64);
WR_HASH(wr_kubelets, wr_u64, wr_u32, 64);
WR_HASH(wr_verdicts, struct wr_verdict_key, struct wr_verdict_row, 262144);
WR_HASH(wr_services, struct wr_service_key, struct wr_service_row, 16384);
WR_HASH(wr_endpoints, struct wr_endpoint_key, struct wr_endpoint_row, 65536);
WR_HASH(wr_handover, struct wr_handover_key, struct wr_handover, 131072);
WR_HASH(wr_announced, struct wr_tuple, struct wr_announced, 131072);

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, struct wr_range_key);
    __type(value, wr_u32);
} wr_ranges __weak SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, 8192);
    __type(key, struct wr_listener_key);
    __type(value, wr_u64);
} wr_listeners __weak SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct wr_socket);
} wr_socket __weak SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct wr_drawn);
} wr_drawn __weak SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4 << 20);
} wr_flows __weak SEC(".maps");

#endif
