// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kernel_tables.h"

#include "agent/node/map_rows.h"
#include "base/log.h"

#include <chrono>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

namespace warren::node {
namespace {

const base::log::Area kTables("tables");

template <class Map, class Keep>
base::Result<size_t> clear_but(const Map& map, Keep keep) {
    const auto rows = TRY(map.rows());
    size_t cleared = 0;
    for (const auto& [key, value] : rows) {
        if (!keep(key) && TRY(map.erase(key))) ++cleared;
    }
    return cleared;
}

}  // namespace

KernelTables::KernelTables(Options options, const Maps& maps, const PolicyIdStore& policies)
    : options_(std::move(options)),
      maps_(maps),
      policies_(policies),
      view_(options_.mesh),
      services_(options_.tunnel_is_ours),
      ranges_(options_.ranges) {}

base::Result<void> KernelTables::start() {
    TRY(policies_.restore(verdicts_.policy_ids()));
    return maps_.configure(options_.config);
}

void KernelTables::note(const base::Result<void>& written, size_t rows, const char* what) {
    if (written) return;
    counts_.failed_writes += rows;
    WARREN_LOG(kTables, base::log::Level::Error, "kernel rows were not written; their connections take the tunnel", {"map", what},
               {"rows", rows}, {"error", written.error().message()});
}

bool KernelTables::update(std::shared_ptr<const policy::Snapshot> snapshot, std::span<const LocalPod> pods,
                          const std::function<void()>& before_write) {
    const auto begun = std::chrono::steady_clock::now();
    const bool pods_changed = view_.update(std::move(snapshot), pods);
    const bool first = !std::exchange(swept_, true);
    if (!pods_changed && !first) {
        // A service may have changed all the same: its waypoint, its ports, its endpoints on other nodes.
        write(services_.update(view_));
        write_ranges();
        return false;
    }
    const VerdictChange change = verdicts_.update(view_);
    if (auto kept = policies_.keep(verdicts_.policy_ids()); !kept) {
        WARREN_LOG(kTables, base::log::Level::Warn, "names of policies are not kept over a restart: flow records will miss them",
                   {"error", kept.error().message()});
    }
    before_write();
    write(change);
    if (first) sweep_adopted(change);
    write(services_.update(view_));
    write_ranges();
    ++counts_.updates;
    counts_.last_update_us =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun).count());
    // At first, connections of an earlier agent's time are judged too: the mesh may have changed while nobody looked.
    return first || !change.narrowed.empty();
}

// Runs of writes go in one call; a deletion ends a run, because the order is the point (verdict_table.h).
void KernelTables::write(const VerdictChange& change) {
    std::vector<wr_verdict_key> keys;
    std::vector<wr_verdict_row> rows;
    const auto flush = [&] {
        if (!keys.empty() && !maps_.verdicts.update(keys, rows)) write_one_by_one(keys, rows);
        keys.clear();
        rows.clear();
    };
    for (const VerdictOp& op : change.ops) {
        if (op.row) {
            keys.push_back(op.key);
            rows.push_back(*op.row);
            continue;
        }
        flush();
        auto erased = maps_.verdicts.erase(op.key);
        if (!erased) note(std::move(erased).error(), 1, "wr_verdicts");
    }
    flush();
}

// A batch ends at its first failure; what follows it may be a denial over an older leave. A row that cannot be written goes, with the one
// that would answer in its place: its connections take the tunnel.
void KernelTables::write_one_by_one(std::span<const wr_verdict_key> keys, std::span<const wr_verdict_row> rows) {
    for (size_t i = 0; i < keys.size(); ++i) {
        const auto written = maps_.verdicts.update(keys[i], rows[i]);
        if (written) continue;
        note(written, 1, "wr_verdicts");
        (void)maps_.verdicts.erase(keys[i]);
        wr_verdict_key any = keys[i];
        any.port = 0;
        (void)maps_.verdicts.erase(any);
    }
}

void KernelTables::write(const std::vector<ServiceOp>& ops) {
    const auto erase = [this](const auto& map, const auto& key, const char* what) {
        auto erased = map.erase(key);
        if (!erased) note(std::move(erased).error(), 1, what);
    };
    for (const ServiceOp& op : ops) {
        if (const auto* endpoint = std::get_if<PutEndpoint>(&op)) {
            note(maps_.endpoints.update(endpoint->key, endpoint->row), 1, "wr_endpoints");
        } else if (const auto* service = std::get_if<PutService>(&op)) {
            note(maps_.services.update(service->key, service->row), 1, "wr_services");
        } else if (const auto* gone = std::get_if<DropService>(&op)) {
            erase(maps_.services, gone->key, "wr_services");
        } else {
            erase(maps_.endpoints, std::get<DropEndpoint>(op).key, "wr_endpoints");
        }
    }
}

// Prefixes before the flag that gives them a meaning, and the flag goes before they do: without it everything may need the tunnel.
void KernelTables::write_ranges() {
    const bool before = counts_.ranges_in_force;
    const RangesChange change = ranges_.update(view_);
    counts_.ranges = ranges_.prefixes().size();
    wr_config config = options_.config;
    const auto configure = [&](bool on) {
        config.flags = on ? options_.config.flags | WR_CONFIG_RANGES : options_.config.flags;
        note(maps_.configure(config), 1, "wr_config");
        counts_.ranges_in_force = on;
    };
    if (before && !ranges_.usable()) configure(false);
    bool complete = true;
    for (const base::Cidr& prefix : change.added) {
        const auto written = maps_.ranges.update(to_row(prefix), 1);
        note(written, 1, "wr_ranges");
        complete = complete && written;
    }
    if (!complete && counts_.ranges_in_force) configure(false);
    for (const base::Cidr& prefix : change.removed) {
        auto erased = maps_.ranges.erase(to_row(prefix));
        if (!erased) note(std::move(erased).error(), 1, "wr_ranges");
    }
    if (!before && ranges_.usable() && complete) configure(true);
}

// Rows of an earlier agent. The table's own were just written over; every other one, also of pairs that are known, is of an older mesh and
// goes. Lists of endpoints have numbers that this agent will give again, so their services go first and the tunnel draws until they are
// written anew.
void KernelTables::sweep_adopted(const VerdictChange& whole) {
    struct Less {
        bool operator()(const wr_verdict_key& a, const wr_verdict_key& b) const {
            return std::tie(a.source, a.destination, a.port) < std::tie(b.source, b.destination, b.port);
        }
    };
    std::set<wr_verdict_key, Less> ours;
    for (const VerdictOp& op : whole.ops) {
        if (op.row) ours.insert(op.key);
    }
    const auto verdicts = clear_but(maps_.verdicts, [&ours](const wr_verdict_key& key) { return ours.contains(key); });
    if (!verdicts) note(base::Result<void>(verdicts.error()), 1, "wr_verdicts");
    const auto services = clear_but(maps_.services, [](const wr_service_key&) { return false; });
    const auto endpoints = services ? clear_but(maps_.endpoints, [](const wr_endpoint_key&) { return false; }) : services;
    if (!endpoints) note(base::Result<void>(endpoints.error()), 1, "wr_endpoints");
    const auto ranges = maps_.set_ranges({});
    note(ranges, 1, "wr_ranges");
}

}  // namespace warren::node
