// SPDX-License-Identifier: Apache-2.0
// A flow as the tunnel knows it, on its way from a connection's record to the node agent: made by the recorder from the same facts and
// counters as metrics and access log, turned into proto/flow.proto by the feed's thread. Values; an event belongs to who holds it, the
// facts it shares do not change. No protobuf here: workers do not pay for messages.
#pragma once

#include "policy/authorization.h"
#include "policy/evaluate.h"
#include "policy/reason.h"
#include "ztunnel/traffic.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace warren::ztunnel {

enum class FlowVerdict : uint8_t { NotJudged, Allowed, Denied };

// policy::Decision with its policies kept alive.
struct FlowDecision {
    FlowVerdict verdict = FlowVerdict::NotJudged;
    policy::Reason reason = policy::Reason::Ok;
    policy::DryRun dry_run = policy::DryRun::None;
    uint32_t rule = 0;
    policy::PolicyRef policy, dry_run_policy;
    static FlowDecision of(const policy::Decision& decision);
};

// What a record keeps only while flows are wanted.
struct FlowState {
    std::chrono::system_clock::time_point start = std::chrono::system_clock::now();
    uint64_t cookie = 0;  // 0: no socket yet; an end without one gets a number that is no socket's
    bool started = false;
    FlowDecision decision;
};

struct FlowEvent {
    std::shared_ptr<const TrafficFacts> facts;
    FlowState state;
    uint64_t to_destination = 0, to_source = 0;  // application bytes so far
    bool ended = false;
    std::chrono::system_clock::time_point end_time{};
    ResponseFlag flag = ResponseFlag::None;
    EndedBy by = EndedBy::Unknown;
    std::string early_reason;  // refused before a decision or route existed: its code
    std::string error;         // empty: finished

    void end(ResponseFlag how, std::string_view why, EndedBy who);
};

// A connection that ended before its context existed (Traffic::early_deny).
[[nodiscard]] FlowEvent early_flow(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view reason_code,
                                   std::string_view error);
// SO_COOKIE; 0 for no socket.
[[nodiscard]] uint64_t socket_cookie(int fd);

class FlowSink {
  public:
    virtual ~FlowSink() = default;
    // Any thread, never waits: what there is no room for is counted as lost.
    virtual void offer(FlowEvent event) = 0;
};

class FlowSource {
  public:
    virtual ~FlowSource() = default;
    // The flows that are open. A copy, a quarter of a KiB each: a reader that is slow to take them may hold no lock of ours.
    [[nodiscard]] virtual std::vector<FlowEvent> open_flows() const = 0;
    // Of the open ones those that have carried bytes since either of these two gave them out the last time.
    [[nodiscard]] virtual std::vector<FlowEvent> moved_flows() const = 0;
};

}  // namespace warren::ztunnel
