// SPDX-License-Identifier: Apache-2.0
// A node with its mesh, its pods and a map of rows as the kernel would hold it. Every update is written operation by operation, and after
// each one the pair is looked at: a port may show its old verdict, its new one or (while the pair leaves) none, nothing else.
#pragma once

#include "agent/node/map_rows.h"
#include "agent/node/verdict_table.h"
#include "policy/inbound.h"
#include "policy/route.h"
#include "tests/catch.h"
#include "tests/policy/mesh_fixture.h"

#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace warren::tests {

class RowMap {
  public:
    using Key = std::tuple<uint32_t, uint32_t, uint16_t>;
    std::optional<wr_verdict_row> lookup(uint32_t source, uint32_t destination, uint16_t port) const {
        for (const uint16_t p : {port, uint16_t{0}})
            if (const auto found = rows.find({source, destination, p}); found != rows.end()) return found->second;
        return std::nullopt;
    }
    void write(const node::VerdictOp& op) {
        const Key key{op.key.source, op.key.destination, op.key.port};
        if (op.row) {
            rows[key] = *op.row;
        } else {
            REQUIRE(rows.erase(key) == 1);
        }
    }
    std::map<Key, wr_verdict_row> rows;
};

inline bool equal(const std::optional<wr_verdict_row>& a, const std::optional<wr_verdict_row>& b) {
    return a.has_value() == b.has_value() && (!a || node::same_row(*a, *b));
}

// The ports that any row of the pair names, and one more.
inline std::set<uint16_t> ports_of(const RowMap& map, uint32_t source, uint32_t destination) {
    std::set<uint16_t> ports{54321};
    for (auto at = map.rows.lower_bound({source, destination, 0}); at != map.rows.end(); ++at) {
        if (std::get<0>(at->first) != source || std::get<1>(at->first) != destination) break;
        ports.insert(std::get<2>(at->first));
    }
    ports.erase(0);
    return ports;
}

// Writes the change and watches it.
inline void write_watched(RowMap& kernel, const node::VerdictChange& change) {
    RowMap after = kernel;
    for (const node::VerdictOp& op : change.ops) after.write(op);
    const RowMap before = kernel;
    for (const node::VerdictOp& op : change.ops) {
        kernel.write(op);
        const uint32_t s = op.key.source, d = op.key.destination;
        std::set<uint16_t> ports = ports_of(before, s, d);
        ports.merge(ports_of(after, s, d));
        for (const uint16_t port : ports) {
            const auto now = kernel.lookup(s, d, port);
            INFO("pair " << s << " " << d << " port " << port);
            REQUIRE((equal(now, before.lookup(s, d, port)) || equal(now, after.lookup(s, d, port))));
        }
    }
}

// What the tunnel would do with a connection between two pods' addresses.
struct TunnelAnswer {
    bool plain_hbone = false;  // straight to the destination pod's application, nothing in between
    policy::Decision decision;
};

inline TunnelAnswer ask_tunnel(const policy::Snapshot& snapshot, const node::MeshSettings& settings, const node::LocalPod& from,
                               const node::LocalPod& to, const base::SockAddr& src, const base::SockAddr& dst) {
    const policy::Workload* source = snapshot.local_workload(from.ns, from.name, from.service_account, settings.node);
    const policy::Workload* local = snapshot.local_workload(to.ns, to.name, to.service_account, settings.node);
    TunnelAnswer out;
    if (source == nullptr || local == nullptr) return out;
    policy::RouteRequest request;
    request.source = source;
    request.client = src.ip;
    request.destination = dst;
    request.network = settings.network;
    policy::Random random(1);
    const policy::Route route = policy::route(snapshot, request, random);
    const bool straight = route.action == policy::RouteAction::Hbone && route.via == policy::Via::Nothing && !route.service &&
                          route.destination.get() == local && route.tcp_destination.ip == dst.ip && route.destination_port == dst.port;
    if (!straight) return out;
    policy::InboundRequest wanted;
    wanted.local = local;
    wanted.local_ip = dst.ip;
    auto authority = policy::parse_authority(route.authority);
    REQUIRE(authority);
    wanted.authority = *authority;
    wanted.network = settings.network;
    const policy::Inbound inbound = policy::inbound(snapshot, wanted);
    if (inbound.refused() || inbound.from_loopback || inbound.proxy_header || inbound.application != dst) return out;
    const policy::Identity identity = source->identity();
    out.plain_hbone = true;
    out.decision = snapshot.policies_for(*local)->decide({src, inbound.policy_destination, &identity});
    out.decision.dry_run_policy = nullptr;
    return out;
}

}  // namespace warren::tests
