// SPDX-License-Identifier: Apache-2.0
// Which endpoint of a service (data-plane contract 5.3): filters, locality ranking, weighted random choice. Pure; any thread.
// Two passes over the endpoints, no allocation.
#pragma once

#include "policy/random.h"
#include "policy/snapshot.h"

#include <span>

namespace warren::policy {

enum class Resolution : uint8_t {
    Standard,  // a destination: the service must list the port
    Waypoint,  // a waypoint: the port is the waypoint's own
};

struct ChoiceRequest {
    const Workload* source = nullptr;  // for locality, node, cluster and network preference
    uint16_t service_port = 0;
    Resolution resolution = Resolution::Standard;
    std::span<const Text> exclude;  // uids that failed already: not drawn while another candidate is left
    const Text* pinned = nullptr;   // a uid drawn earlier: taken again, without a draw, while it is still a candidate
};

struct Choice {
    WorkloadRef workload;  // null: no upstream
    uint16_t port = 0;
};

[[nodiscard]] Choice choose_endpoint(const ServiceEntry& entry, const ChoiceRequest& request, Random& random);

// Every endpoint that choose_endpoint could return, with its weight: what the agent distributes over, and what tests compare with.
// An endpoint of weight zero is never drawn, so it is not listed; request.pinned changes nothing here.
struct Candidate {
    WorkloadRef workload;
    uint16_t port = 0;
    uint32_t weight = 0;
};
[[nodiscard]] std::vector<Candidate> candidates(const ServiceEntry& entry, const ChoiceRequest& request);

}  // namespace warren::policy
