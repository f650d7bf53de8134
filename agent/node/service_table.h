// SPDX-License-Identifier: Apache-2.0
// ServiceTable: what wr_services and wr_endpoints should hold, and how to get there. An update looks only at services that a pod of this
// node belongs to; of those it computes again only the ones whose entry, addresses or node changed, so ten thousand others cost nothing.
// A changed list of endpoints is a new list with a new id: a reader in the kernel never mixes two. Owned by one thread; no I/O.
#pragma once

#include "agent/node/service_rows.h"

#include <map>
#include <memory>
#include <variant>
#include <vector>

namespace warren::node {

struct ServiceLimits {
    size_t addresses = 16'384;  // rows of wr_services
    size_t endpoints = 65'536;  // of all lists; while a list is replaced the map needs room for both
    size_t endpoints_per_list = 4'096;
};

struct PutEndpoint {
    wr_endpoint_key key{};
    wr_endpoint_row row{};
};
struct PutService {
    wr_service_key key{};
    wr_service_row row{};
};
struct DropService {
    wr_service_key key{};
};
struct DropEndpoint {
    wr_endpoint_key key{};
};
using ServiceOp = std::variant<PutEndpoint, PutService, DropService, DropEndpoint>;

struct ServiceCounts {
    size_t addresses = 0;
    size_t drawn = 0;  // of those: not left to the tunnel
    size_t endpoints = 0;
    size_t beyond_limit = 0;  // addresses without a row for a bound: the tunnel, as any miss
    uint64_t computed = 0;    // services computed since the start
};

class ServiceTable {
  public:
    // tunnel_is_ours: it reads the drawn endpoint (WARREN_SO_DRAWN_ENDPOINT).
    explicit ServiceTable(bool tunnel_is_ours, ServiceLimits limits = {}) : tunnel_is_ours_(tunnel_is_ours), limits_(limits) {}

    // Follows the view, always the same one. To be written in this order: what goes first, then for each address its endpoints, its row,
    // and what it had before.
    std::vector<ServiceOp> update(const MeshView& view);
    // The whole table as writes.
    [[nodiscard]] std::vector<ServiceOp> all() const;

    struct Row {
        uint32_t id = 0;
        policy::Text service;  // its key
        ServiceRows rows;
    };
    // null: no row.
    [[nodiscard]] const Row* find(const base::SockAddr& address) const;
    [[nodiscard]] const ServiceCounts& counts() const { return counts_; }

  private:
    using Rows = std::map<base::SockAddr, Row>;
    struct Computed {
        policy::Ref<const policy::ServiceEntry> entry;
        std::vector<ServiceContext::Seen> seen;
        std::shared_ptr<const std::vector<ServiceRows>> rows;
    };
    [[nodiscard]] Rows wanted(const MeshView& view);
    void bound(Rows& rows);

    bool tunnel_is_ours_;
    ServiceLimits limits_;
    std::map<policy::Text, Computed> computed_;
    uint64_t view_version_ = 0;
    Rows rows_;
    uint32_t last_id_ = 0;
    ServiceCounts counts_;
};

}  // namespace warren::node
