// SPDX-License-Identifier: Apache-2.0
#include "agent/node/service_table.h"

#include "agent/node/map_rows.h"

#include <algorithm>
#include <set>
#include <utility>

namespace warren::node {

namespace {

using Row = ServiceTable::Row;

wr_service_key key_of(const base::SockAddr& address) { return {to_row(address.ip), address.port, 0}; }

wr_service_row row_of(const Row& row) { return {row.id, static_cast<uint32_t>(row.rows.endpoints.size()), row.rows.flags}; }

bool same(const ServiceRows& a, const ServiceRows& b) {
    return a.not_drawn == b.not_drawn && a.flags == b.flags &&
           std::equal(a.endpoints.begin(), a.endpoints.end(), b.endpoints.begin(), b.endpoints.end(), same_row<wr_endpoint_row>);
}

void put(const Row& row, std::vector<ServiceOp>& ops) {
    uint32_t index = 0;
    for (const wr_endpoint_row& e : row.rows.endpoints) ops.emplace_back(PutEndpoint{{row.id, index++}, e});
    ops.emplace_back(PutService{key_of(row.rows.address), row_of(row)});
}

void drop_endpoints(const Row& row, std::vector<ServiceOp>& ops) {
    for (uint32_t i = 0; i < row.rows.endpoints.size(); ++i) ops.emplace_back(DropEndpoint{{row.id, i}});
}

// Two services at one address: nobody can say here which a pod means.
void merge(Row& there) {
    there.rows.not_drawn = NotDrawn::DependsOnClient;
    there.rows.flags = WR_SERVICE_TUNNEL;
    there.rows.endpoints.clear();
}

}  // namespace

ServiceTable::Rows ServiceTable::wanted(const MeshView& view) {
    const ServiceContext context(view, tunnel_is_ours_, limits_.endpoints_per_list);
    std::set<policy::Text> keys;
    for (const Member& m : view.members())
        for (size_t i = 0; m.record && i < m.record->services.size(); ++i) keys.insert(m.record->services[i].service);
    std::map<policy::Text, Computed> next;
    Rows out;
    for (const policy::Text& key : keys) {
        const policy::ServiceEntry* entry = view.snapshot().service(key);
        if (entry == nullptr) continue;
        Computed now{policy::Ref<const policy::ServiceEntry>(entry), context.seen(*entry), nullptr};
        const auto before = computed_.find(key);
        const bool same_view = view.version() == view_version_ && before != computed_.end();
        if (same_view && before->second.entry == now.entry && before->second.seen == now.seen) {
            now.rows = before->second.rows;
        } else {
            now.rows = std::make_shared<const std::vector<ServiceRows>>(context.rows(*entry));
            ++counts_.computed;
        }
        for (const ServiceRows& rows : *now.rows)
            if (const auto [at, added] = out.try_emplace(rows.address, Row{0, key, rows}); !added) merge(at->second);
        next.emplace(key, std::move(now));
    }
    computed_ = std::move(next);
    view_version_ = view.version();
    return out;
}

void ServiceTable::bound(Rows& rows) {
    const uint64_t computed = counts_.computed;
    counts_ = {};
    counts_.computed = computed;
    std::erase_if(rows, [&](const auto& entry) {
        const size_t endpoints = entry.second.rows.endpoints.size();
        if (counts_.addresses == limits_.addresses || counts_.endpoints + endpoints > limits_.endpoints) {
            ++counts_.beyond_limit;
            return true;
        }
        ++counts_.addresses;
        counts_.endpoints += endpoints;
        counts_.drawn += endpoints > 0 ? 1 : 0;
        return false;
    });
}

std::vector<ServiceOp> ServiceTable::update(const MeshView& view) {
    Rows next = wanted(view);
    bound(next);
    std::vector<ServiceOp> ops;
    for (const auto& [address, row] : rows_) {
        if (next.contains(address)) continue;
        ops.emplace_back(DropService{key_of(address)});
        drop_endpoints(row, ops);
    }
    for (auto& [address, row] : next) {
        const auto before = rows_.find(address);
        if (before != rows_.end() && same(before->second.rows, row.rows)) {
            row.id = before->second.id;
            continue;
        }
        row.id = ++last_id_;
        put(row, ops);
        if (before != rows_.end()) drop_endpoints(before->second, ops);
    }
    rows_ = std::move(next);
    return ops;
}

std::vector<ServiceOp> ServiceTable::all() const {
    std::vector<ServiceOp> ops;
    for (const auto& [address, row] : rows_) put(row, ops);
    return ops;
}

const ServiceTable::Row* ServiceTable::find(const base::SockAddr& address) const {
    const auto found = rows_.find(address);
    return found != rows_.end() ? &found->second : nullptr;
}

}  // namespace warren::node
