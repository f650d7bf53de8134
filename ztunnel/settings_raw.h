// SPDX-License-Identifier: Apache-2.0
// The variables of settings.h as they were given, each declared once, before they are put together. Internal to settings.cpp.
#pragma once

#include "base/config.h"
#include "ztunnel/settings.h"
#include "ztunnel/worker_threads.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace warren::ztunnel {

struct RawSettings {
    std::string network, node_name, proxy_config, kubernetes_host;
    std::optional<WorkloadInfo> workload;
    std::optional<std::string> xds_address, ca_address;
    bool fake_ca = false, socks5 = false;
    std::chrono::nanoseconds secret_ttl = std::chrono::hours(24);
    std::optional<WorkerCount> workers;
    std::optional<uint32_t> cpu_limit, resource_limit, resource_request, packet_mark;
    std::optional<std::chrono::nanoseconds> termination_deadline;
    std::optional<uint32_t> grace_seconds;
    std::chrono::nanoseconds pool_idle = std::chrono::minutes(5), keepalive_time = std::chrono::seconds(180),
                             keepalive_interval = std::chrono::seconds(180), half_closed = std::chrono::hours(1),
                             handshake = std::chrono::seconds(10), connect = std::chrono::seconds(10),
                             record_wait = std::chrono::seconds(5), demand_wait = std::chrono::seconds(2),
                             demand_unused = std::chrono::minutes(10);
    uint32_t stream_window = 4194304, connection_window = 16777216, frame_size = 1048576, pool_streams = 100;
    uint32_t connections_per_pod = 65'536, streams_per_pod = 32'768, handshakes_per_pod = 1'024;
    std::optional<uint32_t> descriptors_per_pod;
    uint64_t buffered_bytes_per_pod = 64 * 1024 * 1024;
    bool post_quantum = false;
    std::vector<std::string> trust_domain_aliases;
};

// Both outlive the schema's read().
void declare_settings(base::config::Schema& schema, RawSettings& raw, Settings& settings);

}  // namespace warren::ztunnel
