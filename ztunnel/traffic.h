// SPDX-License-Identifier: Apache-2.0
// What a connection leaves behind: traffic metrics, access log line, entry in config_dump (data-plane contract 9.2, 9.3, 9.5, 9.7).
// A TrafficRecord is opened once per connection when its context is known and closed once with its outcome; both log and counters come
// from that one object, so they cannot disagree (trap 40). A record belongs to the thread that opened it; Traffic may be used from any.
#pragma once

#include "base/ip.h"
#include "policy/evaluate.h"
#include "policy/hbone_headers.h"
#include "policy/reason.h"
#include "policy/service.h"
#include "policy/workload.h"

#include <memory>
#include <string>
#include <string_view>

namespace warren::ztunnel {

enum class Direction : uint8_t { Outbound, Inbound };
enum class TunnelKind : uint8_t { Tcp, Hbone, DoubleHbone };

// response_flags of contract 9.3.
enum class ResponseFlag : uint8_t { None, Deny, Connect, TlsFailure, H2HandshakeFailure, NetworkPolicy, IdentityError, CertRevoked };
[[nodiscard]] std::string_view to_string(ResponseFlag flag) noexcept;  // "-", "DENY", ...

// The flag of a connection that ended: what was found while it was set up, else CONNECT for any failure (contract 9.3). A drain is not one.
struct EndOfConnection {
    ResponseFlag found = ResponseFlag::None;
    bool clean = true;
    bool revoked = false;
    bool drained = false;
    [[nodiscard]] ResponseFlag flag() const {
        if (revoked) return ResponseFlag::CertRevoked;
        if (drained) return ResponseFlag::None;
        return clean || found != ResponseFlag::None ? found : ResponseFlag::Connect;
    }
};

// Who ended a connection that did not finish, where that is known.
enum class EndedBy : uint8_t { Unknown, Source, Destination, Timeout };

// Errors of connections that nobody broke: the end of a drain's patience, and a pod that left.
inline constexpr std::string_view kDrained = "drained", kPodGone = "proxy stopped";

// What is known of a connection when its context exists.
struct TrafficFacts {
    Direction direction = Direction::Outbound;
    TunnelKind kind = TunnelKind::Tcp;
    base::SockAddr src;
    base::SockAddr dst;           // see dst.addr in contract 9.5
    base::SockAddr original_dst;  // for config_dump
    std::string hbone_addr;       // CONNECT authority
    policy::WorkloadRef src_workload;
    policy::WorkloadRef dst_workload;
    policy::ServiceRef dst_service;
    policy::Baggage src_baggage;  // inbound: when the workload is not known by address
    policy::Baggage dst_baggage;  // double HBONE: what the response told
    std::string src_identity;     // URI; only under mutual TLS
    std::string dst_identity;
    bool mutual_tls = false;
    std::string forwarded_host;
    bool passthrough = false;                          // left the mesh as it was
    policy::Reason route_reason = policy::Reason::Ok;  // outbound: why the route is what it is
};

class TrafficRecord {
  public:
    virtual ~TrafficRecord() = default;
    // From the local application's view (contract 9.5): sent is what the local client or server sent. Called as bytes flow.
    virtual void add(uint64_t sent_by_app, uint64_t received_by_app) = 0;
    virtual void learn_destination(policy::Baggage baggage, std::string identity) = 0;
    // What policies said; again when a live connection was judged anew and lost. Not called where this side does not judge.
    virtual void judged(const policy::Decision& decision) = 0;
    // It may go on: flows tell of it from now. pod_socket: the tunnel's socket on the pod's side, named by its cookie; -1: none.
    virtual void started(int pod_socket) = 0;
    // Another record goes on with this connection (another endpoint is tried): this one ends in log and counters, and is no flow.
    virtual void handed_on() = 0;
    // What the log adds to the error, in a field of its own; static text. Empty: nothing.
    virtual void note(std::string_view detail) = 0;
    // Exactly once; writes the access log line and the closing counters. error empty: complete. deciding: the policy, where one decided.
    virtual void close(ResponseFlag flag, std::string_view error, const policy::Policy* deciding = nullptr,
                       EndedBy by = EndedBy::Unknown) = 0;
};

class Traffic {
  public:
    virtual ~Traffic() = default;
    virtual std::unique_ptr<TrafficRecord> open(TrafficFacts facts) = 0;
    // One WARN line, no traffic counters (contract 5.2); counted by reason in warren_early_denies_total.
    virtual void early_deny(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view reason_code,
                            std::string_view error) = 0;
    // istio_tcp_sockets_open
    virtual void socket_opened(Direction direction) = 0;
    virtual void socket_closed(Direction direction) = 0;
    // An endpoint's hostname is asked for by a connection of source's: istio_on_demand_dns_total.
    virtual void on_demand_dns(const policy::WorkloadRef& source, std::string_view hostname) = 0;
    // A handshake refused because of a revocation list: istio_crl_policy_rejections_total.
    virtual void crl_rejection(Direction direction) = 0;
};

}  // namespace warren::ztunnel
