// SPDX-License-Identifier: Apache-2.0
#include "agent/node/maps.h"

#include "agent/node/map_rows.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

namespace warren::node {

namespace {

template <class Map>
base::Result<void> bind(const KernelObject& object, const char* name, Map& map) {
    map = TRY(Map::bind(name, TRY(object.map_fd(name))));
    return {};
}

template <class Map>
base::Result<Occupancy> occupancy_of(const Map& map) {
    return Occupancy{.used = TRY(map.count()), .capacity = map.raw().capacity()};
}

}  // namespace

base::Result<Maps> Maps::of(const KernelObject& object) {
    Maps maps;
    TRY(bind(object, "wr_config", maps.config));
    TRY(bind(object, "wr_pods", maps.pods));
    TRY(bind(object, "wr_addrs", maps.addrs));
    TRY(bind(object, "wr_tunnels", maps.tunnels));
    TRY(bind(object, "wr_kubelets", maps.kubelets));
    TRY(bind(object, "wr_ranges", maps.ranges));
    TRY(bind(object, "wr_verdicts", maps.verdicts));
    TRY(bind(object, "wr_services", maps.services));
    TRY(bind(object, "wr_endpoints", maps.endpoints));
    TRY(bind(object, "wr_handover", maps.handover));
    TRY(bind(object, "wr_announced", maps.announced));
    maps.stats_fd = TRY(object.map_fd("wr_stats"));
    maps.flows_fd = TRY(object.map_fd("wr_flows"));
    return maps;
}

base::Result<void> Maps::configure(wr_config row) const {
    row.abi_version = WARREN_ABI_VERSION;
    return config.update(0, row);
}

base::Result<wr_config> Maps::configured() const { return TRY(config.lookup(0)).value_or(wr_config{}); }

base::Result<void> Maps::set_ranges(std::span<const base::Cidr> prefixes) const {
    const std::set<base::Cidr> wanted(prefixes.begin(), prefixes.end());
    for (const base::Cidr& prefix : wanted) TRY(ranges.update(to_row(prefix), 1));
    for (const auto& row : TRY(ranges.rows())) {
        const bool keep = std::any_of(wanted.begin(), wanted.end(), [&row](const base::Cidr& prefix) {
            const wr_range_key key = to_row(prefix);
            return __builtin_memcmp(&key, &row.first, sizeof key) == 0;
        });
        if (!keep) TRY(ranges.erase(row.first));
    }
    return {};
}

base::Result<StatCounts> Maps::stats() const {
    const int processors = ::libbpf_num_possible_cpus();
    if (processors <= 0) return base::os_error_of(-processors, "possible processors");
    std::vector<uint64_t> values(static_cast<size_t>(processors));
    StatCounts sums{};
    for (uint32_t slot = 0; slot < WR_STAT_COUNT; ++slot) {
        if (::bpf_map_lookup_elem(stats_fd, &slot, values.data()) != 0) return base::os_error("map lookup", "wr_stats");
        for (const uint64_t value : values) sums[slot] += value;
    }
    return sums;
}

base::Result<size_t> Maps::drop_stale_announcements() const {
    size_t dropped = 0;
    for (const auto& [tuple, row] : TRY(announced.rows())) {
        const auto owner = TRY(addrs.lookup(tuple.destination));
        if ((!owner || owner->netns != tuple.destination_netns) && TRY(announced.erase(tuple))) ++dropped;
    }
    return dropped;
}

base::Result<Occupancy> Maps::handover_occupancy() const { return occupancy_of(handover); }
base::Result<Occupancy> Maps::announced_occupancy() const { return occupancy_of(announced); }

}  // namespace warren::node
