// SPDX-License-Identifier: Apache-2.0
// What the data plane needs to know of the configuration, as values: read once at start (settings.h), constant afterwards.
#pragma once

#include "policy/text.h"
#include "ztunnel/pod_limits.h"
#include "ztunnel/socket.h"
#include "ztunnel/tls_session.h"
#include "ztunnel/tunnel.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace warren::ztunnel {

inline constexpr uint16_t kOutboundPort = 15001;
inline constexpr uint16_t kInboundPlaintextPort = 15006;
inline constexpr uint16_t kInboundHbonePort = 15008;

struct ProxySettings {
    policy::Text network;
    std::string node_name;
    bool tcp = true;                // ENABLE_PROXY: the data plane; off, pods get the DNS proxy alone
    bool follow_identities = true;  // shared mode: certificates of the node's workloads are prefetched and forgotten (contract 2.5)
    std::string trust_domain = "cluster.local", cluster_id = "Kubernetes";  // of a stand-in
    SocketOptions sockets;
    TunnelSettings outbound_tunnel;
    TunnelSettings inbound_tunnel;
    TlsRecords records = TlsRecords::Warren;
    uint32_t pool_streams = 100;                         // POOL_MAX_STREAMS_PER_CONNECTION
    std::chrono::milliseconds pool_idle{5 * 60 * 1000};  // POOL_UNUSED_RELEASE_TIMEOUT
    std::chrono::milliseconds connect_timeout{10'000};
    std::chrono::milliseconds workload_wait{5'000};  // for the local workload's record (contract 5.2 step 2)
    // WARREN_RECORD_WAIT: then the node agent's word serves for an outbound connection's source (stand_in.h).
    std::chrono::milliseconds record_wait{5'000};
    std::chrono::milliseconds half_closed_timeout{60 * 60 * 1000};
    int endpoint_attempts = 3;                                       // of one connection, before the client sees a failure
    ListenAt::Transparent transparent = ListenAt::Transparent::Try;  // ENABLE_ORIG_SRC
    bool spoof_source = true;
    bool response_baggage = true;      // ENABLE_RESPONSE_BAGGAGE: gates sending it and reading the request's
    bool localhost_app_tunnel = true;  // LOCALHOST_APP_TUNNEL
    ProxyLimits limits;
};

}  // namespace warren::ztunnel
