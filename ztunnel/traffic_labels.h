// SPDX-License-Identifier: Apache-2.0
// The labels of the traffic metrics (data-plane contract 9.2) from what is known of a connection: which facts decide them, and the values
// in the order of the page. Pure values; any thread.
#pragma once

#include "ztunnel/traffic.h"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

inline constexpr size_t kTrafficLabels = 23;
inline constexpr size_t kLocalityLabels = 4;  // together or not at all
inline constexpr size_t kResponseFlags = 8;

[[nodiscard]] std::vector<std::string> traffic_label_names();
[[nodiscard]] std::vector<std::string> locality_label_names();
[[nodiscard]] std::string_view to_string(Direction direction) noexcept;  // "outbound", "inbound"
[[nodiscard]] std::string_view reporter(Direction direction) noexcept;   // "source", "destination"

// The part of TrafficFacts that the labels are made of. Two connections that agree in it share their series. Baggage and the
// destination's identity count only where the workload is not known by its record.
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
};

// Equal for facts that are the same to LabelFacts.
[[nodiscard]] size_t hash_of(const TrafficFacts& facts) noexcept;
[[nodiscard]] size_t hash_of(const LabelFacts& facts) noexcept;

// Values that borrow from the facts and from one text of their own; they live where they were made.
class LabelValues {
  public:
    LabelValues(const LabelFacts& facts, ResponseFlag flag);
    LabelValues(const LabelValues&) = delete;
    LabelValues& operator=(const LabelValues&) = delete;
    [[nodiscard]] std::span<const std::string_view> values() const { return {values_.data(), count_}; }

  private:
    struct Side;
    static Side side_of(const policy::Workload* workload, const policy::Baggage& baggage);
    void put(std::string_view value) { values_[count_++] = value.empty() ? std::string_view("unknown") : value; }
    void put(const Side& side, std::string_view principal);

    std::string dst_principal_;
    std::array<std::string_view, kTrafficLabels + kLocalityLabels> values_;
    size_t count_ = 0;
};

}  // namespace warren::ztunnel
