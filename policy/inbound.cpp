// SPDX-License-Identifier: Apache-2.0
#include "policy/inbound.h"

#include "policy/route.h"
#include "policy/waypoint.h"

#include <optional>
#include <vector>

namespace warren::policy {

namespace {

Inbound refuse(uint16_t status, Reason reason) {
    Inbound out;
    out.status = status;
    out.reason = reason;
    return out;
}

// Contract 6.3. A workload with an application tunnel is told the authority and decides itself.
bool allowed_here(const Snapshot& snapshot, const InboundRequest& r) {
    if (!r.authority.is_address() || r.authority.ip == r.local_ip || r.local->application_tunnel != nullptr) return true;
    const Owner target = find_address(snapshot, NetworkAddress{r.network, r.authority.ip}, nullptr);
    return serves_as_waypoint(snapshot, target, *r.local, r.local_ip);
}

// As the control plane writes the name, which is what peers send; else in lower case, for hosts are equal in any (RFC 9110 4.2.3).
const ServiceEntry* service_named(const Snapshot& snapshot, const std::string& hostname, const Text& ns) {
    if (const ServiceEntry* entry = snapshot.service_by_hostname(hostname, &ns)) return entry;
    std::string lower = hostname;
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return snapshot.service_by_hostname(lower, &ns);
}

// This endpoint's own mapping of a service port; 0: none.
uint16_t own_port(const Workload& local, const Service& service, uint16_t service_port) {
    const WorkloadService* membership = local.membership(service.key);
    if (membership == nullptr) return 0;
    for (const PortPair& pair : membership->ports)
        if (pair.service_port == service_port) return pair.target_port;
    return 0;
}

uint16_t target_port(const Workload& local, const Service& service, uint16_t service_port) {
    if (const uint16_t own = own_port(local, service, service_port); own != 0) return own;
    const ServicePort* listed = service.port(service_port);
    return listed != nullptr ? listed->target_port : uint16_t{0};
}

// One VIP stands for the service in a PROXY header: own network first, among those IPv4.
const NetworkAddress* proxy_vip(const Service& service, const Text& network) {
    const NetworkAddress* best = nullptr;
    int best_rank = -1;
    for (const NetworkAddress& vip : service.vips) {
        const int rank = (vip.network == network ? 2 : 0) + (vip.ip.is_v4() ? 1 : 0);
        if (rank <= best_rank) continue;
        best = &vip;
        best_rank = rank;
    }
    return best;
}

std::vector<ServiceRef> services_of(const Snapshot& snapshot, const Workload& local) {
    std::vector<ServiceRef> out;
    for (const WorkloadService& membership : local.services)
        if (const ServiceEntry* entry = snapshot.service(membership.service)) out.push_back(entry->service);
    return out;
}

// Contract 6.5: what the client says it meant, if that is possible at all, else the first service with that port.
ServiceRef guess_service(const InboundRequest& r, const std::vector<ServiceRef>& possible, uint16_t port) {
    if (!r.forwarded_host.empty())
        for (const ServiceRef& s : possible)
            if (s->hostname == r.forwarded_host) return s;
    for (const ServiceRef& s : possible)
        for (const ServicePort& p : s->ports)
            if (p.target_port == port || own_port(*r.local, *s, p.service_port) == port) return s;
    return nullptr;
}

base::IpAddr loopback_like(base::IpAddr ip) { return ip.is_v4() ? base::IpAddr::v4(0x7f000001) : base::IpAddr::from_number(0, 1); }

// Contract 4.11; false: a PROXY header is due and there is no address to put into it.
bool apply_tunnel(Inbound& out, const InboundRequest& r, const ServiceRef& by_hostname) {
    const ApplicationTunnel* tunnel = r.local->application_tunnel.get();
    if (tunnel == nullptr) return true;
    if (tunnel->port != 0) out.application.port = tunnel->port;
    if (tunnel->protocol != AppTunnelProtocol::Proxy) return true;
    out.proxy_header = true;
    out.proxy_destination = base::SockAddr{r.authority.ip, r.authority.port};
    if (by_hostname) {
        const NetworkAddress* vip = proxy_vip(*by_hostname, r.network);
        if (vip == nullptr) return false;
        out.proxy_destination.ip = vip->ip;
    }
    if (r.localhost_app_tunnel) {
        out.from_loopback = true;
        out.application.ip = loopback_like(r.local_ip);
    }
    return true;
}

}  // namespace

Inbound inbound(const Snapshot& snapshot, const InboundRequest& r) {
    if (r.local == nullptr) return refuse(503, Reason::UnknownSource);
    if (!allowed_here(snapshot, r)) return refuse(400, Reason::NotForThisPod);

    Inbound out;
    std::vector<ServiceRef> possible;
    ServiceRef by_hostname;
    out.application = base::SockAddr{r.local_ip, r.authority.port};
    if (r.authority.is_address()) {
        possible = services_of(snapshot, *r.local);
    } else {
        const ServiceEntry* entry = service_named(snapshot, r.authority.hostname, r.local->ns);
        if (entry == nullptr) return refuse(503, Reason::UnknownDestination);
        by_hostname = entry->service;
        possible.push_back(by_hostname);
        out.application.port = target_port(*r.local, *by_hostname, r.authority.port);
        if (out.application.port == 0) return refuse(503, Reason::UnknownDestination);
    }
    // Before the tunnel's override, as the contract has it, and after it: a port of ours would loop either way.
    if (is_tunnel_port(out.application.port)) return refuse(503, Reason::SelfCall);
    if (!apply_tunnel(out, r, by_hostname)) return refuse(503, Reason::UnknownDestination);
    if (is_tunnel_port(out.application.port)) return refuse(503, Reason::SelfCall);
    out.policy_destination = base::SockAddr{r.local_ip, out.application.port};
    out.service = guess_service(r, possible, out.application.port);
    return out;
}

ServiceRef probable_service(const Snapshot& snapshot, const Workload& local, uint16_t port) {
    InboundRequest request;
    request.local = &local;
    return guess_service(request, services_of(snapshot, local), port);
}

}  // namespace warren::policy
