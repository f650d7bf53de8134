// SPDX-License-Identifier: Apache-2.0
// The lines of the access log (data-plane contract 9.5), area "access", and of decisions: which keys, in which order, under which
// conditions. Any thread.
#pragma once

#include "base/log.h"
#include "ztunnel/traffic.h"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace warren::ztunnel {

struct ConnectionEnd {
    uint64_t bytes_sent = 0;  // by the local application
    uint64_t bytes_received = 0;
    std::chrono::steady_clock::duration duration{};
    std::string_view error;                    // empty: complete
    const policy::Policy* deciding = nullptr;  // the policy, where one decided
    std::string_view reason = {};              // the code of a denial (policy/reason.h)
    std::string_view detail = {};              // what Warren knows beyond the error
};

void log_opened(const TrafficFacts& facts);                              // DEBUG
void log_complete(const TrafficFacts& facts, const ConnectionEnd& end);  // INFO, or ERROR with an error
// Area "policy": what policies decided, and what those on dry run would have (contract 7.2, 9.5). At the level given where a policy or its
// absence had a part; DEBUG where none selects the workload.
void log_decision(const TrafficFacts& facts, const policy::Decision& decision, base::log::Level level);
// WARN: a connection that was refused before it had a context.
void log_early_deny(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view error);

}  // namespace warren::ztunnel
