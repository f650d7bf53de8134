// SPDX-License-Identifier: Apache-2.0
#include "policy/endpoint_choice.h"

#include <algorithm>

namespace warren::policy {

namespace {

// An endpoint without an address of its own can only be reached through the gateway of another network.
bool reachable(const Workload& workload, const Workload* source) {
    if (!workload.addresses.empty() || !workload.hostname.empty()) return true;
    return workload.network_gateway != nullptr && source != nullptr && workload.network != source->network;
}

// The port to dial; 0 when this endpoint does not serve the request. The endpoint's own mapping comes before the service's.
// A waypoint with an application tunnel need not have its port listed: whoever terminates the tunnel there knows where to go.
uint16_t port_of(const Endpoint& endpoint, const ServicePort* listed, const ChoiceRequest& request) {
    const ApplicationTunnel* tunnel = endpoint.workload->application_tunnel.get();
    const bool waypoint = request.resolution == Resolution::Waypoint;
    if (listed == nullptr && !(waypoint && tunnel != nullptr)) return 0;
    if (const uint16_t own = endpoint.target_port(request.service_port); own != 0) return own;
    if (listed != nullptr && listed->target_port != 0) return listed->target_port;
    return waypoint && tunnel != nullptr && tunnel->port != 0 ? request.service_port : uint16_t{0};
}

bool matches(LbScope scope, const Workload& a, const Workload& b) {
    switch (scope) {
        case LbScope::Region: return a.locality.region == b.locality.region;
        case LbScope::Zone: return a.locality.zone == b.locality.zone;
        case LbScope::Subzone: return a.locality.subzone == b.locality.subzone;
        case LbScope::Node: return a.node == b.node;
        case LbScope::Cluster: return a.cluster_id == b.cluster_id;
        case LbScope::Network: return a.network == b.network;
    }
    return false;
}

constexpr int kDropped = -1;

// Contract 5.3. A leading NETWORK preference outweighs all others together: matching it lifts an endpoint above every one that does
// not, and missing it does not end the comparison. STRICT counts matches before that lift.
int rank_of(const LoadBalancing& lb, const Workload* source, const Workload& endpoint) {
    const auto& preferences = lb.routing_preference;
    const int count = static_cast<int>(preferences.size());
    int rank = 0;
    int lift = 0;
    for (const LbScope preference : preferences) {
        const bool match = source != nullptr && matches(preference, *source, endpoint);
        if (preference == LbScope::Network && preferences.front() == LbScope::Network) {
            if (!match) continue;
            lift = count - 1;
        }
        if (!match) break;
        ++rank;
    }
    return lb.mode == LbMode::Strict && rank != count ? kDropped : rank + lift;
}

struct Eligible {
    const Endpoint& endpoint;
    uint16_t port;
    int rank;
};

bool contains(std::span<const Text> uids, const Text& uid) { return std::find(uids.begin(), uids.end(), uid) != uids.end(); }

// fn(const Eligible&) for every endpoint that passes the filters, whatever its rank.
template <class Fn>
void each_eligible(const ServiceEntry& entry, const ChoiceRequest& request, Fn&& fn) {
    if (!entry.service) return;
    const Service& service = *entry.service;
    const ServicePort* listed = service.port(request.service_port);
    if (request.resolution == Resolution::Standard && listed == nullptr) return;
    const bool ranked = service.load_balancing && service.load_balancing->mode != LbMode::Unspecified;
    const bool any_health = service.allows_unhealthy();
    entry.endpoints.for_each([&](const Text& uid, const Endpoint& endpoint) {
        const Workload& workload = *endpoint.workload;
        if (workload.status != Health::Healthy && !any_health) return;
        if (!reachable(workload, request.source) || contains(request.exclude, uid)) return;
        const uint16_t port = port_of(endpoint, listed, request);
        if (port == 0) return;
        const int rank = ranked ? rank_of(*service.load_balancing, request.source, workload) : 0;
        if (rank != kDropped) fn(Eligible{endpoint, port, rank});
    });
}

struct Best {
    int rank = kDropped;
    uint64_t weight = 0;  // of all endpoints of that rank
    void add(const Eligible& e) {
        if (e.rank > rank) *this = Best{e.rank, 0};
        if (e.rank == rank) weight += e.endpoint.workload->capacity;
    }
};

Choice draw(const ServiceEntry& entry, const ChoiceRequest& request, Random& random) {
    Best best;
    Choice pinned;
    int pinned_rank = kDropped;
    each_eligible(entry, request, [&](const Eligible& e) {
        best.add(e);
        if (request.pinned == nullptr || e.endpoint.workload->uid != *request.pinned || e.endpoint.workload->capacity == 0) return;
        pinned = Choice{e.endpoint.workload, e.port};
        pinned_rank = e.rank;
    });
    if (best.weight == 0) return {};
    if (pinned.workload && pinned_rank == best.rank) return pinned;
    uint64_t left = random.below(best.weight);
    Choice choice;
    each_eligible(entry, request, [&](const Eligible& e) {
        if (choice.workload || e.rank != best.rank) return;
        const uint32_t weight = e.endpoint.workload->capacity;
        if (left < weight)
            choice = Choice{e.endpoint.workload, e.port};
        else
            left -= weight;
    });
    return choice;
}

}  // namespace

Choice choose_endpoint(const ServiceEntry& entry, const ChoiceRequest& request, Random& random) {
    Choice choice = draw(entry, request, random);
    if (choice.workload || request.exclude.empty()) return choice;
    ChoiceRequest everything = request;
    everything.exclude = {};
    return draw(entry, everything, random);
}

std::vector<Candidate> candidates(const ServiceEntry& entry, const ChoiceRequest& request) {
    Best best;
    each_eligible(entry, request, [&](const Eligible& e) { best.add(e); });
    std::vector<Candidate> list;
    if (best.weight == 0) {
        if (request.exclude.empty()) return list;
        ChoiceRequest everything = request;
        everything.exclude = {};
        return candidates(entry, everything);
    }
    each_eligible(entry, request, [&](const Eligible& e) {
        const uint32_t weight = e.endpoint.workload->capacity;
        if (e.rank == best.rank && weight > 0) list.push_back(Candidate{e.endpoint.workload, e.port, weight});
    });
    return list;
}

}  // namespace warren::policy
