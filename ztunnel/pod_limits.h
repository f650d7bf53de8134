// SPDX-License-Identifier: Apache-2.0
// What one pod may hold on one worker, so that it cannot starve the node: connections (inbound tunnels count as such), streams of inbound
// tunnels, file descriptors. Each refusal is counted by its limit. Bytes that wait have their own budget (stream_relay.h). Belongs to
// the worker's thread; whoever took gives back once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace warren::ztunnel {

struct ProxyLimits {
    size_t connections_per_pod = 65'536;
    // Strangers' streams alone, below the connections, so that they leave the pod room for its own.
    size_t streams_per_pod = 32'768;
    // Sockets of all kinds, pooled tunnels included. settings.cpp: three quarters of what the process may open, shared by its workers.
    size_t descriptors_per_pod = 262'144;
    // Bytes received for applications that do not read; beyond it the peers get no more credit.
    size_t buffered_bytes_per_pod = 64 * 1024 * 1024;
    size_t handshakes_per_pod = 1'024;  // inbound tunnels whose handshake is not done
    // The same of all pods of one worker: each holds some 20 KB, and strangers may ask at many pods at once.
    size_t handshakes_per_worker = 1'024;
};

enum class PodLimit : uint8_t { Connections, Streams, Descriptors, Handshakes };
inline constexpr size_t kPodLimits = 4;

// The reason in logs and flows.
[[nodiscard]] constexpr std::string_view to_string(PodLimit limit) noexcept {
    constexpr std::array<std::string_view, kPodLimits> names{"connection_limit", "stream_limit", "descriptor_limit", "handshake_limit"};
    return names[static_cast<size_t>(limit)];
}
inline constexpr std::string_view kWorkerHandshakes = "too many handshakes at once on this node";
// For people.
[[nodiscard]] constexpr std::string_view describe(PodLimit limit) noexcept {
    constexpr std::array<std::string_view, kPodLimits> texts{"too many connections of this pod (WARREN_CONNECTIONS_PER_POD)",
                                                             "too many streams to this pod (WARREN_STREAMS_PER_POD)",
                                                             "too many sockets of this pod (WARREN_DESCRIPTORS_PER_POD)",
                                                             "too many handshakes at once for this pod (WARREN_HANDSHAKES_PER_POD)"};
    return texts[static_cast<size_t>(limit)];
}

class PodUse {
  public:
    using Refused = std::array<uint64_t, kPodLimits>;
    explicit PodUse(const ProxyLimits& limits) : limits_(limits) {}

    // Each takes all or nothing and answers the limit that stood in the way.
    std::optional<PodLimit> take_connection() {
        if (connections_ >= limits_.connections_per_pod) return refuse(PodLimit::Connections);
        if (descriptors_ >= limits_.descriptors_per_pod) return refuse(PodLimit::Descriptors);
        ++connections_;
        ++descriptors_;
        return std::nullopt;
    }
    std::optional<PodLimit> take_stream() {
        if (streams_ >= limits_.streams_per_pod) return refuse(PodLimit::Streams);
        if (auto limit = take_connection()) return limit;
        ++streams_;
        return std::nullopt;
    }
    std::optional<PodLimit> take_descriptor() {
        if (descriptors_ >= limits_.descriptors_per_pod) return refuse(PodLimit::Descriptors);
        ++descriptors_;
        return std::nullopt;
    }
    std::optional<PodLimit> take_handshake() {
        if (handshakes_ >= limits_.handshakes_per_pod) return refuse(PodLimit::Handshakes);
        ++handshakes_;
        return std::nullopt;
    }
    void give_connection() { --connections_, --descriptors_; }
    void give_stream() { give_connection(), --streams_; }
    void give_descriptor() { --descriptors_; }
    void give_handshake() { --handshakes_; }

    [[nodiscard]] size_t connections() const { return connections_; }
    [[nodiscard]] size_t streams() const { return streams_; }
    [[nodiscard]] size_t descriptors() const { return descriptors_; }
    [[nodiscard]] const Refused& refused() const { return refused_; }

  private:
    std::optional<PodLimit> refuse(PodLimit limit) {
        ++refused_[static_cast<size_t>(limit)];
        return limit;
    }
    const ProxyLimits& limits_;
    size_t connections_ = 0, streams_ = 0, descriptors_ = 0, handshakes_ = 0;
    Refused refused_{};
};

// What a pod has met so far; a worker adds its pods' up, those that have left included.
struct PodCounts {
    PodUse::Refused refused{};
    uint64_t accept_pauses = 0;  // a listener waited for a free descriptor of the process
    uint64_t credit_held = 0;    // times a peer's credit was held back because the pod's applications do not read
    uint64_t tunnel_dials = 0;
    uint64_t stand_ins = 0;  // outbound connections and DNS queries that the node agent's word served for, not a record
    void add(const PodCounts& other) {
        for (size_t i = 0; i < kPodLimits; ++i) refused[i] += other.refused[i];
        accept_pauses += other.accept_pauses;
        credit_held += other.credit_held;
        tunnel_dials += other.tunnel_dials;
        stand_ins += other.stand_ins;
    }
};

}  // namespace warren::ztunnel
