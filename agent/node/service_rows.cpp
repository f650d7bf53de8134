// SPDX-License-Identifier: Apache-2.0
#include "agent/node/service_rows.h"

#include "agent/node/alias.h"
#include "agent/node/map_rows.h"
#include "policy/endpoint_choice.h"
#include "policy/upstream.h"

#include <algorithm>
#include <set>

namespace warren::node {

std::string_view to_string(NotDrawn why) {
    switch (why) {
        case NotDrawn::No: return "drawn";
        case NotDrawn::Waypoint: return "waypoint";
        case NotDrawn::Passthrough: return "passthrough";
        case NotDrawn::OtherNetwork: return "other_network";
        case NotDrawn::NoAddress: return "no_address";
        case NotDrawn::TunnelPort: return "tunnel_port";
        case NotDrawn::DependsOnClient: return "depends_on_client";
        case NotDrawn::NotAllLocal: return "not_all_local";
        case NotDrawn::TooManyEndpoints: return "too_many_endpoints";
    }
    return "unknown";
}

namespace {

bool same_place(const policy::Workload& a, const policy::Workload& b) {
    return a.locality == b.locality && a.node == b.node && a.cluster_id == b.cluster_id && a.network == b.network;
}

bool same_candidates(const std::vector<policy::Candidate>& a, const std::vector<policy::Candidate>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const policy::Candidate& x, const policy::Candidate& y) {
        return x.workload == y.workload && x.port == y.port && x.weight == y.weight;
    });
}

bool has_waypoint(const policy::Service& service) {
    return service.waypoint != nullptr || std::any_of(service.weighted_waypoints.begin(), service.weighted_waypoints.end(),
                                                      [](const policy::WeightedWaypoint& w) { return w.weight > 0; });
}

// Weights into thresholds and aliases.
void finish(ServiceRows& out, const std::vector<uint32_t>& weights) {
    const std::vector<AliasRow> rows = alias_rows(weights);
    for (size_t i = 0; i < rows.size(); ++i) {
        out.endpoints[i].threshold = rows[i].threshold;
        out.endpoints[i].alias = rows[i].alias;
    }
    if (std::adjacent_find(weights.begin(), weights.end(), std::not_equal_to<>()) == weights.end()) out.flags |= WR_SERVICE_UNIFORM;
}

}  // namespace

ServiceContext::ServiceContext(const MeshView& view, bool tunnel_is_ours, size_t most_endpoints)
    : view_(view), tunnel_is_ours_(tunnel_is_ours), most_endpoints_(most_endpoints) {
    std::set<policy::Text> namespaces;
    for (const Member& m : view.members()) {
        if (!m.record) continue;
        local_.emplace(m.record.get(), &m);
        if ((m.pod.flags & WR_POD_OUTBOUND) == 0) continue;
        one_network_ = one_network_ && m.record->network == view.settings().network;
        namespaces.insert(m.record->ns);
        const bool known = std::any_of(standpoints_.begin(), standpoints_.end(), [&](const auto* s) { return same_place(*s, *m.record); });
        if (!known) standpoints_.push_back(m.record.get());
    }
    namespaces_.assign(namespaces.begin(), namespaces.end());
}

ServiceContext::Seen ServiceContext::seen_at(const policy::ServiceEntry& entry, const policy::NetworkAddress& vip) const {
    // A workload's own address is not service-addressed, whoever else claims it (quirk A4).
    const policy::Snapshot& snapshot = view_.snapshot();
    const bool shared = snapshot.workload(vip) != nullptr;
    size_t sees = 0;
    for (const policy::Text& ns : namespaces_) sees += snapshot.service_by_vip(vip, &ns) == &entry;
    if (sees == 0) return Seen::Nobody;
    return sees == namespaces_.size() && !shared ? Seen::All : Seen::Some;
}

std::vector<ServiceContext::Seen> ServiceContext::seen(const policy::ServiceEntry& entry) const {
    std::vector<Seen> out;
    for (const policy::NetworkAddress& vip : entry.service->vips)
        out.push_back(vip.network == view_.settings().network ? seen_at(entry, vip) : Seen::Nobody);
    return out;
}

std::vector<ServiceRows> ServiceContext::rows(const policy::ServiceEntry& entry) const {
    std::vector<ServiceRows> out;
    const std::vector<Seen> seen_by = seen(entry);
    std::set<base::SockAddr> done;
    for (size_t i = 0; i < seen_by.size(); ++i) {
        if (seen_by[i] == Seen::Nobody) continue;
        for (const policy::ServicePort& port : entry.service->ports) {
            const base::SockAddr address{entry.service->vips[i].ip, port.service_port};
            if (!done.insert(address).second) continue;
            bool local = false;
            ServiceRows made = row(entry, address, seen_by[i], local);
            if (local) out.push_back(std::move(made));
        }
    }
    return out;
}

ServiceRows ServiceContext::row(const policy::ServiceEntry& entry, const base::SockAddr& address, Seen seen, bool& local) const {
    ServiceRows out;
    out.address = address;
    out.not_drawn = endpoints(entry, out, local);
    if (seen != Seen::All) out.not_drawn = NotDrawn::DependsOnClient;
    if (!one_network_) out.not_drawn = NotDrawn::OtherNetwork;
    if (entry.service->passthrough()) out.not_drawn = NotDrawn::Passthrough;
    if (has_waypoint(*entry.service)) out.not_drawn = NotDrawn::Waypoint;
    if (out.not_drawn == NotDrawn::No) return out;
    out.flags = WR_SERVICE_TUNNEL;
    out.endpoints.clear();
    return out;
}

// As far as the destination goes: what one source may not send takes the tunnel for itself.
bool ServiceContext::open_to_all(const Member& destination) {
    const auto& network = destination.pod.network.pod;
    return destination.as_destination == NotDirect::No && (!network || network->ingress.empty());
}

// Fills endpoints and flags; local: one of them is a pod of this node.
NotDrawn ServiceContext::endpoints(const policy::ServiceEntry& entry, ServiceRows& out, bool& local) const {
    policy::ChoiceRequest request;
    request.service_port = out.address.port;
    std::vector<policy::Candidate> list;
    NotDrawn why = NotDrawn::No;
    for (const policy::Workload* from : standpoints_) {
        request.source = from;
        std::vector<policy::Candidate> seen = candidates(entry, request);
        local = local || std::any_of(seen.begin(), seen.end(), [&](const auto& c) { return local_.contains(c.workload.get()); });
        if (from == standpoints_.front())
            list = std::move(seen);
        else if (!same_candidates(list, seen))
            why = NotDrawn::DependsOnClient;
    }
    if (!local || why != NotDrawn::No) return why;
    if (list.size() > most_endpoints_) return NotDrawn::TooManyEndpoints;
    bool all_local = true;
    std::vector<uint32_t> weights;
    for (const policy::Candidate& c : list) {
        if (c.workload->network != view_.settings().network) return NotDrawn::OtherNetwork;
        const auto ip = policy::select_ip(*c.workload, entry.service.get(), out.address.ip);
        if (!ip || ip->is_v4() != out.address.ip.is_v4()) return NotDrawn::NoAddress;
        if (policy::is_tunnel_port(c.port)) return NotDrawn::TunnelPort;
        const Member* here = local_endpoint(*c.workload, *ip);
        // A stock tunnel draws again, so nothing may be left to it.
        all_local = all_local && here != nullptr && (tunnel_is_ours_ || open_to_all(*here));
        wr_endpoint_row endpoint{};
        endpoint.address = to_row(*ip);
        endpoint.port = c.port;
        out.endpoints.push_back(endpoint);
        weights.push_back(c.weight);
    }
    if (!all_local && !tunnel_is_ours_) return NotDrawn::NotAllLocal;
    if (all_local) out.flags |= WR_SERVICE_ALL_LOCAL;
    if (tunnel_is_ours_) out.flags |= WR_SERVICE_HINT;
    finish(out, weights);
    return NotDrawn::No;
}

const Member* ServiceContext::local_endpoint(const policy::Workload& workload, base::IpAddr ip) const {
    const auto found = local_.find(&workload);
    if (found == local_.end()) return nullptr;
    const LocalPod& pod = found->second->pod;
    return pod.v4 == ip || pod.v6 == ip ? found->second : nullptr;
}

}  // namespace warren::node
