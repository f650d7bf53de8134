// SPDX-License-Identifier: Apache-2.0
// What is known of a connection as the labels of the traffic metrics (policy/traffic_labels.h): which facts decide them. Pure values; any
// thread.
#pragma once

#include "policy/traffic_labels.h"
#include "ztunnel/traffic.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace warren::ztunnel {

inline constexpr size_t kResponseFlags = 8;

[[nodiscard]] std::string_view to_string(Direction direction) noexcept;  // "outbound", "inbound"
[[nodiscard]] std::string_view reporter(Direction direction) noexcept;   // "source", "destination"

// The part of TrafficFacts that the labels are made of. Two connections that agree in what the labels show share their series, whatever
// else of their ends' records differs. Baggage and the destination's identity count only where the workload is not known by its record.
struct LabelFacts {
    Direction direction = Direction::Outbound;
    bool mutual_tls = false;
    policy::WorkloadRef src_workload;
    policy::WorkloadRef dst_workload;
    policy::ServiceRef dst_service;
    policy::Baggage src_baggage;
    policy::Baggage dst_baggage;
    std::string src_identity;
    std::string dst_identity;

    explicit LabelFacts(const TrafficFacts& facts);
    [[nodiscard]] bool same(const TrafficFacts& facts) const;
    // Of facts that are the same: their records from now on, so that those they replaced are let go.
    void renew(const TrafficFacts& facts);
};

// Equal for facts that are the same to LabelFacts.
[[nodiscard]] size_t hash_of(const TrafficFacts& facts) noexcept;
[[nodiscard]] size_t hash_of(const LabelFacts& facts) noexcept;

// For the page; borrows the facts.
[[nodiscard]] policy::TrafficLabels labels_of(const LabelFacts& facts, ResponseFlag flag);

}  // namespace warren::ztunnel
