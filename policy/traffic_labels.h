// SPDX-License-Identifier: Apache-2.0
// The labels of the istio_tcp_* metrics (data-plane contract 9.2): their names, and the values in the order of the page. The tunnel reports
// what it carried, the node agent what went straight; both by these. Pure values; any thread.
#pragma once

#include "policy/hbone_headers.h"
#include "policy/service.h"
#include "policy/workload.h"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace warren::policy {

inline constexpr size_t kTrafficLabels = 23;
inline constexpr size_t kLocalityLabels = 4;  // together or not at all

[[nodiscard]] std::vector<std::string> traffic_label_names();
[[nodiscard]] std::vector<std::string> locality_label_names();

// Of one connection, as one side reports it. Borrowed; an end without a record is described by its baggage.
struct TrafficLabels {
    std::string_view reporter;  // "source", "destination"
    const Workload* source = nullptr;
    const Workload* destination = nullptr;
    const Service* service = nullptr;
    const Baggage& source_baggage;
    const Baggage& destination_baggage;
    std::string_view source_principal;
    std::string_view destination_principal;  // of a destination without a record; else the record's counts, for plaintext too (quirk A12)
    std::string_view response_flags = "-";
    std::string_view security = "unknown";  // "mutual_tls"; "attested" on the same-node path, which is neither that nor none
};

// Whether two records (null: none) give the same labels, and a number that is equal for those that do. A record is replaced whenever
// anything of it changes, most of which no label shows.
[[nodiscard]] bool same_labels(const Workload* a, const Workload* b) noexcept;
[[nodiscard]] bool same_labels(const Service* a, const Service* b) noexcept;
[[nodiscard]] uint64_t label_hash(const Workload* w) noexcept;
[[nodiscard]] uint64_t label_hash(const Service* s) noexcept;

// Values that borrow from the labels and from one text of their own; they live where they were made.
class TrafficLabelValues {
  public:
    explicit TrafficLabelValues(const TrafficLabels& labels);
    TrafficLabelValues(const TrafficLabelValues&) = delete;
    TrafficLabelValues& operator=(const TrafficLabelValues&) = delete;
    [[nodiscard]] std::span<const std::string_view> values() const { return {values_.data(), count_}; }

  private:
    struct Side;
    static Side side_of(const Workload* workload, const Baggage& baggage);
    void put(std::string_view value) { values_[count_++] = value.empty() ? std::string_view("unknown") : value; }
    void put(const Side& side, std::string_view principal);

    std::string destination_principal_;
    std::array<std::string_view, kTrafficLabels + kLocalityLabels> values_;
    size_t count_ = 0;
};

}  // namespace warren::policy
