// SPDX-License-Identifier: Apache-2.0
// The kernel maps of one instance, by the names and rows of bpf/abi.h: what the agent writes (configuration, pods, addresses, ranges,
// verdicts, services, tunnels, kubelets) and what it reads (counters, how full the hand-over maps are). Borrows descriptors from the
// KernelObject. Any thread; who writes which map is in bpf/README.md.
#pragma once

#include "agent/node/kernel_object.h"
#include "agent/node/typed_map.h"
#include "base/ip.h"
#include "base/result.h"
#include "bpf/abi.h"

#include <array>
#include <cstdint>
#include <span>

namespace warren::node {

using StatCounts = std::array<uint64_t, WR_STAT_COUNT>;

struct Occupancy {
    size_t used = 0;
    uint32_t capacity = 0;
    // Connections in flight only: half full means that the next burst may not fit, and what does not fit is refused.
    [[nodiscard]] bool alarm() const { return used * 2 >= capacity; }
};

struct Maps {
    TypedMap<wr_u32, wr_config> config;
    TypedMap<wr_u64, wr_pod> pods;
    TypedMap<wr_addr, wr_local> addrs;
    TypedMap<wr_u64, wr_u32> tunnels, kubelets;
    TypedMap<wr_range_key, wr_u32> ranges;
    TypedMap<wr_verdict_key, wr_verdict_row> verdicts;
    TypedMap<wr_service_key, wr_service_row> services;
    TypedMap<wr_endpoint_key, wr_endpoint_row> endpoints;
    TypedMap<wr_handover_key, wr_handover> handover;
    TypedMap<wr_tuple, wr_announced> announced;
    int stats_fd = -1;
    int flows_fd = -1;

    static base::Result<Maps> of(const KernelObject& object);

    // The one row; abi_version is filled in.
    [[nodiscard]] base::Result<void> configure(wr_config row) const;
    [[nodiscard]] base::Result<wr_config> configured() const;
    // Exactly these prefixes from now on. What is added comes before what is removed: a destination in both is never without a row.
    [[nodiscard]] base::Result<void> set_ranges(std::span<const base::Cidr> prefixes) const;
    // Sums over processors, since the maps were made.
    [[nodiscard]] base::Result<StatCounts> stats() const;
    // Announcements of connections to an address that is not its pod's any more: the kernel finds a row by the address, so those stay when
    // their sender gives up. Nobody is let through by them. How many.
    [[nodiscard]] base::Result<size_t> drop_stale_announcements() const;
    // Walks the map: some milliseconds for 100,000 rows. Every few seconds, not more.
    [[nodiscard]] base::Result<Occupancy> handover_occupancy() const;
    [[nodiscard]] base::Result<Occupancy> announced_occupancy() const;
};

}  // namespace warren::node
