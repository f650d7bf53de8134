// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/demand_names.h"

#include <algorithm>
#include <optional>
#include <variant>

namespace warren::ztunnel {

namespace {

using policy::GatewayAddress;
using policy::NetworkAddress;
using policy::ServiceEntry;
using policy::Snapshot;
using policy::Text;
using policy::Workload;

// A service, its waypoint, the gateway before that waypoint: deeper than that no route goes.
constexpr int kDeepest = 3;

std::optional<NetworkAddress> address_of(std::string_view name) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto ip = base::IpAddr::parse(name.substr(slash + 1));
    if (!ip) return std::nullopt;
    return NetworkAddress{Text(name.substr(0, slash)), *ip};
}

class Collector {
  public:
    Collector(const Snapshot& snapshot, const DemandRequest& request) : snapshot_(snapshot), request_(request) {}

    DemandNames run() {
        const NetworkAddress& to = request_.destination;
        address(to, 0);
        // The lookup of the upstream starts from the source's network (contract 5.2 step 8).
        if (request_.source.network != to.network) address({request_.source.network, to.ip}, 0);
        return std::move(names_);
    }

  private:
    void address(const NetworkAddress& at, int depth) {
        const Workload* workload = snapshot_.workload(at);
        const ServiceEntry* service = snapshot_.service_by_vip(at, &request_.source.ns);
        std::string name = demand_name(at);
        if (workload == nullptr && service == nullptr) return add(names_.needed, std::move(name));
        add(names_.used, std::move(name));
        if (service != nullptr) this->service(*service, depth);
        if (workload != nullptr && workload->waypoint != nullptr) gateway(*workload->waypoint, depth + 1);
    }

    void service(const ServiceEntry& entry, int depth) {
        const policy::Service& service = *entry.service;
        add(request_.services ? names_.needed : names_.used, service.key.str());
        if (depth >= kDeepest) return;
        if (service.waypoint != nullptr) gateway(*service.waypoint, depth + 1);
        for (const policy::WeightedWaypoint& w : service.weighted_waypoints) gateway(w.destination, depth + 1);
        entry.endpoints.for_each([&](const Text&, const policy::Endpoint& endpoint) {
            const Workload& w = *endpoint.workload;
            if (w.network_gateway != nullptr && w.network != request_.source.network) gateway(*w.network_gateway, depth + 1);
        });
    }

    void gateway(const GatewayAddress& gateway, int depth) {
        if (depth > kDeepest) return;
        if (const auto* at = std::get_if<NetworkAddress>(&gateway.destination)) return address(*at, depth);
        const Text& name = std::get<Text>(gateway.destination);
        if (const ServiceEntry* entry = snapshot_.service(name)) return service(*entry, depth);
        const size_t slash = name.view().find('/');
        if (slash == std::string_view::npos) return;
        const Workload* there = snapshot_.workload_by_hostname(name.view().substr(0, slash), name.view().substr(slash + 1));
        add(there != nullptr ? names_.used : names_.needed, name.str());
    }

    static void add(std::vector<std::string>& names, std::string name) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }

    const Snapshot& snapshot_;
    const DemandRequest& request_;
    DemandNames names_;
};

}  // namespace

std::string demand_name(const NetworkAddress& address) { return address.network.str() + '/' + address.ip.to_string(); }

DemandNames demand_names(const Snapshot& snapshot, const DemandRequest& request) { return Collector(snapshot, request).run(); }

bool demand_is_there(const Snapshot& snapshot, std::string_view name) {
    const auto at = address_of(name);
    return at && (snapshot.workload(*at) != nullptr || snapshot.service_by_vip(*at, nullptr) != nullptr);
}

std::vector<std::string_view> demand_covers(const Snapshot& snapshot, std::string_view name) {
    std::vector<std::string_view> covered;
    const auto add_service = [&](const ServiceEntry* entry) {
        if (entry == nullptr) return;
        covered.push_back(entry->service->key.view());
        entry->endpoints.for_each([&](const Text&, const policy::Endpoint& e) { covered.push_back(e.workload->uid.view()); });
    };
    if (const auto at = address_of(name)) {
        if (const Workload* workload = snapshot.workload(*at)) covered.push_back(workload->uid.view());
        add_service(snapshot.service_by_vip(*at, nullptr));
        return covered;
    }
    add_service(snapshot.service(name));
    const size_t slash = std::min(name.find('/'), name.size());
    if (slash < name.size())
        if (const Workload* workload = snapshot.workload_by_hostname(name.substr(0, slash), name.substr(slash + 1)))
            covered.push_back(workload->uid.view());
    if (const Workload* workload = snapshot.workload(name)) covered.push_back(workload->uid.view());
    return covered;
}

}  // namespace warren::ztunnel
