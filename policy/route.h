// SPDX-License-Identifier: Apache-2.0
// Where does this connection go? Data-plane contract 5 as one pure function of (source workload, destination, snapshot, random).
// The same code serves the tunnel, the agent's same-node verdicts and the CLI. No I/O: a hostname endpoint comes back to be resolved
// by the caller. Any thread.
#pragma once

#include "policy/random.h"
#include "policy/reason.h"
#include "policy/snapshot.h"

#include <string>
#include <vector>

namespace warren::policy {

struct RouteRequest {
    const Workload* source = nullptr;    // null: refused as unknown_source
    base::IpAddr client;                 // the captured connection's own source address (a waypoint is recognised by it)
    base::SockAddr destination;          // the original destination
    Text network;                        // the node's own network
    bool loopback_ports_illegal = true;  // 15001, 15006, 15008 on loopback destinations (contract 5.2 step 1)
    // An endpoint drawn earlier for this connection (same-node path, contract of Warren's own): honoured while it is still a candidate.
    const Text* pinned_endpoint = nullptr;
    // Endpoint uids already tried and failed; they are not drawn again while another one is left.
    std::vector<Text> exclude;
};

enum class RouteAction : uint8_t {
    Refuse,       // reason says why
    Passthrough,  // plain TCP to the original destination, no identity
    Direct,       // plain TCP to tcp_destination: a workload of the mesh without HBONE
    Hbone,        // HBONE to tcp_destination, CONNECT authority
    DoubleHbone,  // HBONE to a network gateway, a second one inside it
};

enum class Via : uint8_t { Nothing, ServiceWaypoint, WorkloadWaypoint, NetworkGateway };

struct Route {
    RouteAction action = RouteAction::Refuse;
    Reason reason = Reason::Ok;
    Via via = Via::Nothing;
    base::SockAddr tcp_destination;
    // Not empty: tcp_destination.ip is still to be resolved; prefer the family of the original destination (contract 5.3 IP selection 4),
    // then call set_resolved().
    Text resolve_hostname;
    std::string authority;          // of the CONNECT request (contract 4.3), brackets applied; empty while it waits for set_resolved()
    uint16_t destination_port = 0;  // the application's port at `destination`, after service port mapping; 0 where another hop maps it
    std::vector<Identity> peer_identities;   // any one suffices; of the outer tunnel for DoubleHbone
    std::vector<Identity> inner_identities;  // DoubleHbone only; empty always fails
    WorkloadRef endpoint;     // the workload at the other end of the TCP connection (waypoint or gateway included); null for Passthrough
    WorkloadRef destination;  // the workload finally chosen, where known
    ServiceRef service;       // the service the client addressed, if any
};

[[nodiscard]] Route route(const Snapshot& snapshot, const RouteRequest& request, Random& random);

// Completes a route whose hostname the caller has resolved: the TCP destination, and the authority where it names that address.
void set_resolved(Route& route, base::IpAddr address);

// Ports of the tunnel itself, never a legal final destination on loopback (contract 4.1).
[[nodiscard]] bool is_tunnel_port(uint16_t port);

}  // namespace warren::policy
