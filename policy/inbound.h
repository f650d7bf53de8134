// SPDX-License-Identifier: Apache-2.0
// What an arriving CONNECT asks for, and where it goes (data-plane contract 6.3, 6.4, 4.11, 6.5): the pure half of the inbound side,
// between the request and the policy decision. The caller evaluates policy on `policy_destination`, connects to `application`, and
// writes the PROXY header. Pure; any thread.
#pragma once

#include "policy/authority.h"
#include "policy/reason.h"
#include "policy/snapshot.h"

namespace warren::policy {

struct InboundRequest {
    const Workload* local = nullptr;  // the pod's record; null: refused as unknown_source
    base::IpAddr local_ip;            // where the tunnel's TCP connection arrived: the pod's address
    Authority authority;
    Text network;                     // the node's own
    std::string_view forwarded_host;  // of the `forwarded` header; empty: none
    bool localhost_app_tunnel = true;
};

struct Inbound {
    uint16_t status = 200;  // of the refusal: 400 or 503 (contract 4.5); 200: go on
    Reason reason = Reason::Ok;
    base::SockAddr application;         // where to connect
    bool from_loopback = false;         // bind the local end to loopback, and do not spoof the peer's address
    bool proxy_header = false;          // write one PROXY v2 header after the 200
    base::SockAddr proxy_destination;   // the destination in that header
    base::SockAddr policy_destination;  // pod address and final port: what policies see
    ServiceRef service;                 // the service the client probably meant; for telemetry only
    [[nodiscard]] bool refused() const { return status != 200; }
};

[[nodiscard]] Inbound inbound(const Snapshot& snapshot, const InboundRequest& request);

// The service that somebody who connected to this port of the workload probably meant; null: none has it. For telemetry only.
[[nodiscard]] ServiceRef probable_service(const Snapshot& snapshot, const Workload& local, uint16_t port);

}  // namespace warren::policy
