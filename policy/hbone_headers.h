// SPDX-License-Identifier: Apache-2.0
// The request headers that travel with a CONNECT (data-plane contract 4.3): forwarded, baggage, traceparent. Text in, text out; what
// a peer says in them serves telemetry only, never a decision. Pure; any thread. Nothing here fails: what does not parse is absent.
#pragma once

#include "base/ip.h"
#include "policy/random.h"
#include "policy/workload.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace warren::policy {

// for="10.0.0.1:4000", then ;host=HOST unless service_hostname is empty (or could not stand unquoted in a header).
[[nodiscard]] std::string format_forwarded(const base::SockAddr& source, std::string_view service_hostname);
// The host= part, without quotes; empty: none.
[[nodiscard]] std::string_view parse_forwarded_host(std::string_view header);

// Absent and empty are the same.
struct Baggage {
    std::string cluster{};
    std::string ns{};
    std::string workload_name{};
    std::optional<WorkloadType> workload_type{};
    std::string service_name{};     // canonical name
    std::string service_version{};  // canonical revision
    std::string region{};
    std::string zone{};
    bool operator==(const Baggage&) const = default;
};

[[nodiscard]] Baggage baggage_of(const Workload& workload);
// Values that would read as another item, or could not stand in a header, are left out. May be empty.
[[nodiscard]] std::string format_baggage(const Baggage& baggage);
// Every instance of the header in order; the last value of a key wins, one instance that is not ASCII text voids them all.
[[nodiscard]] Baggage parse_baggage(std::span<const std::string_view> headers);

// "deployment", "cronjob", "pod", "job"
[[nodiscard]] std::string_view to_string(WorkloadType type);

struct TraceParent {
    uint64_t trace_hi = 0;
    uint64_t trace_lo = 0;
    uint64_t span = 0;
    static TraceParent make(Random& random);
    // Exactly 55 characters, four hexadecimal fields at their places (quirk A7: the places are checked, not only the length).
    static std::optional<TraceParent> parse(std::string_view header);
    // Version 00, flags 00: never sampled.
    [[nodiscard]] std::string to_string() const;
    bool operator==(const TraceParent&) const = default;
};

}  // namespace warren::policy
