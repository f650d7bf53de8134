// SPDX-License-Identifier: Apache-2.0
// VerdictTable: what wr_verdicts should hold for all pairs of the node's pods, and how to get there. An update computes only what the
// view's versions say has changed: a policy the destinations it selects, a workload its own rows. Work is shared: destinations of one
// policy set and sources of one identity are judged once, unless policies look at addresses. Owned by one thread; no I/O.
//
// A pair that would need too many rows goes to the tunnel; pairs beyond the bound of all rows have none, which is the tunnel as well.
#pragma once

#include "agent/node/mesh_view.h"
#include "agent/node/policy_ids.h"
#include "agent/node/verdict_rows.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace warren::node {

struct VerdictLimits {
    size_t rows = 200'000;       // of the whole table; while a change is written the map may need room for the rows of that change as well
    size_t ports_per_pair = 64;  // that policies of one destination name; and that NetworkPolicies leave open beside shut ones
};

struct VerdictOp {
    wr_verdict_key key{};
    std::optional<wr_verdict_row> row;  // none: delete
};

// Something that was allowed to go direct and is not any more. Port 0: every port without rows of its own before and after.
struct Narrowed {
    uint32_t source = 0;
    uint32_t destination = 0;
    uint16_t port = 0;
    wr_verdict_row now{};  // verdict NONE: the pair left the table
};

struct VerdictChange {
    // To be written in this order. Pairs that lose something come first. Inside a pair the order is such that after every single
    // operation each port has its old verdict or its new one (or, when the pair leaves, none).
    std::vector<VerdictOp> ops;
    // Whose open connections have to be judged again (rejudge.h), once the ops are written.
    std::vector<Narrowed> narrowed;
};

struct VerdictCounts {
    size_t rows = 0;
    size_t pairs = 0;           // with rows
    size_t too_many_ports = 0;  // pairs sent to the tunnel for the number of ports their policies name
    size_t beyond_limit = 0;    // pairs without rows for the bound of all rows
    // Of NetworkPolicies that leave something out: pairs that take the tunnel for some port at least, and the pods they select.
    size_t network_policy_pairs = 0, network_policy_pods = 0;
    uint64_t judged = 0;  // pairs evaluated since the start
};

class VerdictTable {
  public:
    explicit VerdictTable(VerdictLimits limits = {}) : limits_(limits) {}

    // Follows the view, always the same one. Every pair of members has rows afterwards, a pod with itself included (a service may draw its
    // own client).
    VerdictChange update(const MeshView& view);
    // The whole table as writes, for a map found after a restart.
    [[nodiscard]] std::vector<VerdictOp> all() const;

    // As the kernel looks it up; none: it has no row and asks the tunnel.
    [[nodiscard]] std::optional<wr_verdict_row> lookup(uint32_t source, uint32_t destination, uint16_t port) const;
    [[nodiscard]] const VerdictCounts& counts() const { return counts_; }
    [[nodiscard]] PolicyIds& policy_ids() { return ids_; }
    [[nodiscard]] const PolicyIds& policy_ids() const { return ids_; }

  private:
    class Update;
    enum Shut : uint8_t { kNothing = 0, kIngress = 1, kEgress = 2 };  // by NetworkPolicies of the destination, of the source
    struct Cell {
        uint32_t source = 0;
        uint8_t shut = kNothing;
        uint64_t version = 0;  // of the source
        PairRef verdicts;      // null: beyond the limit
    };
    // A destination with all its sources, by id.
    struct Column {
        uint32_t destination = 0;
        uint64_t version = 0;
        bool too_many_ports = false;
        std::vector<Cell> cells;
    };
    template <class Fn>
    static void each_change(const std::vector<Column>& before, const std::vector<Column>& now, Fn&& fn);
    void bound();

    VerdictLimits limits_;
    PolicyIds ids_;
    std::vector<Column> columns_;  // by destination
    uint64_t view_version_ = 0;
    VerdictCounts counts_;
};

}  // namespace warren::node
