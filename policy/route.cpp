// SPDX-License-Identifier: Apache-2.0
#include "policy/route.h"

#include "policy/upstream.h"
#include "policy/waypoint.h"

namespace warren::policy {

namespace {

constexpr uint16_t kHbonePort = 15008;

Route refuse(Reason reason, Via via, ServiceRef service) {
    Route route;
    route.reason = reason;
    route.via = via;
    route.service = std::move(service);
    return route;
}

// The steps of contract 5.2 for one connection, in its order; numbers in comments are its step numbers.
class Router {
  public:
    explicit Router(const RouteContext& context) : context_(context), request_(context.request) {}

    [[nodiscard]] Route run() const {
        const NetworkAddress address{request_.network, request_.destination.ip};
        const Owner owner = find_address(context_.snapshot, address, &context_.source.ns);  // 3
        const ServiceRef service = owner.service != nullptr ? owner.service->service : nullptr;
        if (service) {  // 4
            if (const GatewayAddress* waypoint = service_waypoint(*service, context_.random))
                return through_service_waypoint(service, *waypoint);
        }
        const NetworkAddress local{context_.source.network, request_.destination.ip};
        const Upstream upstream =
            find_upstream(context_, local, request_.destination.port, Resolution::Standard, request_.pinned_endpoint);  // 8
        if (!upstream) return without_upstream(service);                                                                // 9
        if (upstream.workload->network != context_.source.network) {                                                    // 12
            if (!service) return refuse(Reason::CrossNetworkNoService, Via::NetworkGateway, nullptr);
            return through_gateway(upstream, service, upstream.workload);
        }
        if (!service && upstream.workload->waypoint != nullptr && !is_own_waypoint(context_, *upstream.workload))  // 13
            return through_workload_waypoint(upstream);
        return to_workload(upstream, service ? service : upstream.service);
    }

  private:
    [[nodiscard]] Route through_service_waypoint(const ServiceRef& service, const GatewayAddress& waypoint) const {  // 5 to 7
        const GatewayHop hop = resolve_gateway(context_, waypoint, Resolution::Waypoint);
        if (!hop.upstream) return refuse(waypoint_failure(hop), Via::ServiceWaypoint, service);
        if (hop.upstream.workload->network != context_.source.network) return through_gateway(hop.upstream, service, nullptr);
        return hbone_to(hop, Via::ServiceWaypoint, service, nullptr);
    }

    [[nodiscard]] Route through_workload_waypoint(const Upstream& upstream) const {  // 14
        const GatewayHop hop = resolve_gateway(context_, *upstream.workload->waypoint, Resolution::Waypoint);
        if (!hop.upstream) return refuse(waypoint_failure(hop), Via::WorkloadWaypoint, upstream.service);
        return hbone_to(hop, Via::WorkloadWaypoint, upstream.service, upstream.workload);
    }

    static Reason waypoint_failure(const GatewayHop& hop) { return hop.known ? Reason::NoHealthyUpstream : Reason::UnknownWaypoint; }

    // A waypoint is spoken to in HBONE whatever its record says, with the destination as the client wrote it.
    [[nodiscard]] Route hbone_to(const GatewayHop& hop, Via via, const ServiceRef& service, WorkloadRef destination) const {
        Route route = dial(hop.upstream, hop.address_of, hop.upstream.port, via);
        route.service = service;
        if (route.reason != Reason::Ok) return route;
        route.action = RouteAction::Hbone;
        route.authority = request_.destination.to_string();
        route.peer_identities = expected_identities(hop.upstream);
        route.destination = std::move(destination);
        return route;
    }

    // Contract 5.5: `next` (the final workload, or a waypoint) is in another network. The inner tunnel ends at whoever stands behind
    // the service `next` was selected from, so only that service's names count there.
    [[nodiscard]] Route through_gateway(const Upstream& next, const ServiceRef& service, WorkloadRef destination) const {
        const GatewayAddress* gateway = next.workload->network_gateway.get();
        if (gateway == nullptr) return refuse(Reason::UnknownGateway, Via::NetworkGateway, service);
        const GatewayHop hop = resolve_gateway(context_, *gateway, Resolution::Standard);
        if (!hop.upstream) return refuse(hop.known ? Reason::NoHealthyUpstream : Reason::UnknownGateway, Via::NetworkGateway, service);
        Route route = dial(hop.upstream, hop.address_of, hop.upstream.port, Via::NetworkGateway);
        route.service = service;
        if (route.reason != Reason::Ok) return route;
        route.action = RouteAction::DoubleHbone;
        route.authority = service->hostname.str() + ':' + std::to_string(request_.destination.port);
        route.peer_identities = expected_identities(hop.upstream);
        if (next.service) {
            const auto& names = next.service->subject_alt_names;
            route.inner_identities.assign(names.begin(), names.end());
        }
        route.destination = std::move(destination);
        return route;
    }

    [[nodiscard]] Route to_workload(const Upstream& upstream, const ServiceRef& service) const {  // 15 to 17
        const bool hbone = upstream.workload->tunnel_protocol == TunnelProtocol::Hbone;
        Route route = dial(upstream, request_.destination.ip, hbone ? kHbonePort : upstream.port, Via::Nothing);
        route.service = service;
        if (route.reason != Reason::Ok) return route;
        route.destination = upstream.workload;
        route.destination_port = upstream.port;
        route.action = hbone ? RouteAction::Hbone : RouteAction::Direct;
        if (!hbone) return route;
        route.peer_identities = expected_identities(upstream);
        if (route.resolve_hostname.empty()) route.authority = base::SockAddr{route.tcp_destination.ip, upstream.port}.to_string();
        return route;
    }

    [[nodiscard]] Route without_upstream(const ServiceRef& service) const {  // 10, 11
        if (service && !service->passthrough()) {
            const bool listed = service->port(request_.destination.port) != nullptr;
            return refuse(listed ? Reason::NoHealthyUpstream : Reason::NoSuchPort, Via::Nothing, service);
        }
        Route route;
        route.action = RouteAction::Passthrough;
        route.reason = service ? Reason::PassthroughService : Reason::PassthroughUnknown;
        route.tcp_destination = request_.destination;
        route.destination_port = request_.destination.port;
        route.service = service;
        return route;
    }

    // The TCP end of a route; refused as no_address where the workload has neither address nor hostname.
    static Route dial(const Upstream& upstream, base::IpAddr original, uint16_t port, Via via) {
        Route route;
        route.via = via;
        route.endpoint = upstream.workload;
        route.tcp_destination.port = port;
        if (const auto ip = select_ip(*upstream.workload, upstream.service.get(), original))
            route.tcp_destination.ip = *ip;
        else if (!upstream.workload->hostname.empty())
            route.resolve_hostname = upstream.workload->hostname;
        else
            route.reason = Reason::NoAddress;
        return route;
    }

    const RouteContext& context_;
    const RouteRequest& request_;
};

}  // namespace

bool is_tunnel_port(uint16_t port) { return port == 15001 || port == 15006 || port == kHbonePort; }

Route route(const Snapshot& snapshot, const RouteRequest& request, Random& random) {
    const base::SockAddr& destination = request.destination;
    if (request.loopback_ports_illegal && destination.ip.is_loopback() && is_tunnel_port(destination.port))  // 1
        return refuse(Reason::SelfCall, Via::Nothing, nullptr);
    if (request.source == nullptr) return refuse(Reason::UnknownSource, Via::Nothing, nullptr);  // 2
    const RouteContext context{snapshot, request, *request.source, random};
    return Router(context).run();
}

void set_resolved(Route& route, base::IpAddr address) {
    route.tcp_destination.ip = address;
    route.resolve_hostname = {};
    if (route.action == RouteAction::Hbone && route.authority.empty())
        route.authority = base::SockAddr{address, route.destination_port}.to_string();
}

}  // namespace warren::policy
