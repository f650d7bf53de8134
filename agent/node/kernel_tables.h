// SPDX-License-Identifier: Apache-2.0
// KernelTables: what the mesh and the node's pods mean for the kernel: verdicts, service rows and ranges, computed from policy/ and written
// so that no reader sees more allowed than before or after. On the agent's loop.
//
// Nothing is written before the mesh is complete: pinned rows of an earlier agent stay in force until this one knows better, and what has
// no row takes the tunnel.
#pragma once

#include "agent/node/maps.h"
#include "agent/node/mesh_view.h"
#include "agent/node/policy_id_store.h"
#include "agent/node/ranges.h"
#include "agent/node/service_table.h"
#include "agent/node/verdict_table.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace warren::node {

struct KernelTablesCounts {
    uint64_t updates = 0;
    uint64_t failed_writes = 0;  // rows; their pairs take the tunnel, or are written again with the next update
    uint64_t last_update_us = 0;
    bool ranges_in_force = false;
    size_t ranges = 0;
};

class KernelTables {
  public:
    struct Options {
        MeshSettings mesh;
        bool tunnel_is_ours = true;
        std::vector<base::Cidr> ranges;
        wr_config config{};  // as it is to be; WR_CONFIG_RANGES is this class's
    };
    // maps and policies outlive it.
    KernelTables(Options options, const Maps& maps, const PolicyIdStore& policies);

    // Writes the configuration without ranges and takes up the numbers of policies; before pods are captured.
    base::Result<void> start();
    // Brings the maps to what is; before_write is called when the rows are known and none is written, for whoever must know the numbers in
    // them first. True: something that was allowed is not any more, so open connections are to be judged.
    bool update(std::shared_ptr<const policy::Snapshot> snapshot, std::span<const LocalPod> pods,
                const std::function<void()>& before_write);

    [[nodiscard]] const MeshView& view() const { return view_; }
    [[nodiscard]] const VerdictTable& verdicts() const { return verdicts_; }
    [[nodiscard]] const ServiceTable& services() const { return services_; }
    // Of the numbers in verdict rows and flow records.
    [[nodiscard]] std::shared_ptr<const PolicyIds::Names> policy_names() { return verdicts_.policy_ids().names(); }
    [[nodiscard]] const KernelTablesCounts& counts() const { return counts_; }

  private:
    void write(const VerdictChange& change);
    void write_one_by_one(std::span<const wr_verdict_key> keys, std::span<const wr_verdict_row> rows);
    void write(const std::vector<ServiceOp>& ops);
    void write_ranges();
    void sweep_adopted(const VerdictChange& whole);
    void note(const base::Result<void>& written, size_t rows, const char* what);

    const Options options_;
    const Maps& maps_;
    const PolicyIdStore& policies_;
    MeshView view_;
    VerdictTable verdicts_;
    ServiceTable services_;
    Ranges ranges_;
    KernelTablesCounts counts_;
    bool swept_ = false;  // rows of an earlier agent that this one does not know are gone
};

}  // namespace warren::node
