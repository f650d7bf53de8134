// SPDX-License-Identifier: Apache-2.0
// What the DNS proxy is told (data-plane contract 8.7, 10.2): where it listens, its limits and waits, and the name servers of a
// resolv.conf. Values, read once; the functions are pure but for read_resolv_conf(). Any thread.
#pragma once

#include "base/ip.h"
#include "base/result.h"
#include "policy/dns_names.h"
#include "ztunnel/socket.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

inline constexpr uint16_t kDnsPort = 15053;

// DNS_PROXY_ADDR: "localhost:PORT" is both loopback addresses, "IP:PORT" that one alone.
struct DnsListen {
    std::optional<base::IpAddr> ip;  // none: 127.0.0.1, and ::1 where IPv6 is on
    uint16_t port = kDnsPort;
};
[[nodiscard]] base::Result<DnsListen> parse_dns_proxy_addr(std::string_view text);
// DNS_CAPTURE: on unless it is set to something else than "true" in any case.
[[nodiscard]] bool dns_capture_enabled(const std::optional<std::string>& value);

struct ResolvConf {
    // The C library stops at three; more are kept here because nothing is waited for but those that fail.
    static constexpr size_t kMaxServers = 8, kMaxSearch = 32;
    std::vector<base::SockAddr> servers;
    std::vector<std::string> search;   // as written; a later line replaces an earlier one, as resolv.conf(5) has it
    std::vector<std::string> skipped;  // name servers that are no address (a zone, a typing error), for the log
};
// resolv.conf(5). Lines that mean nothing here are passed over, as every resolver does.
[[nodiscard]] ResolvConf parse_resolv_conf(std::string_view text);
[[nodiscard]] base::Result<ResolvConf> read_resolv_conf(const std::string& path);

// Of one pod. Each refusal is counted (DnsMetrics).
struct DnsLimits {
    // Of those that wait for a name server: each holds a descriptor, so a pod whose name servers are silent may not take many.
    size_t queries = 1'024;
    size_t tcp_clients = 128;
    size_t queries_per_tcp_client = 32;  // pipelined; then reading waits
    size_t cache_entries = 256;
};

struct DnsSettings {
    DnsListen listen;
    policy::NameSettings names;
    SocketOptions sockets;
    DnsLimits limits;
    std::chrono::milliseconds workload_wait{5'000};  // for the pod's own record, else SERVFAIL
    std::chrono::milliseconds record_wait{5'000};    // then the node agent's word serves, where there is one
    std::chrono::milliseconds tcp_idle{5'000};
    std::chrono::milliseconds upstream_timeout{5'000};  // of one try; over TCP once for connecting and once for the answer
};

}  // namespace warren::ztunnel
