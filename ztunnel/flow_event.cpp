// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/flow_event.h"

#include <sys/socket.h>

#include <atomic>

namespace warren::ztunnel {

FlowDecision FlowDecision::of(const policy::Decision& decision) {
    FlowDecision out;
    out.verdict = decision.allowed ? FlowVerdict::Allowed : FlowVerdict::Denied;
    out.reason = decision.reason;
    out.dry_run = decision.dry_run;
    out.rule = decision.rule;
    out.policy = policy::PolicyRef(decision.policy);
    out.dry_run_policy = policy::PolicyRef(decision.dry_run_policy);
    return out;
}

namespace {

// The kernel counts socket cookies up from 1 and, in interrupts, down from 2^64 - 1; so these are no socket's. Two tunnels of a node begin
// at different microseconds.
uint64_t cookie_of_no_socket() {
    static std::atomic<uint64_t> next{[] {
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
        return static_cast<uint64_t>(us) & ((uint64_t{1} << 60) - 1);
    }()};
    return uint64_t{1} << 62 | next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void FlowEvent::end(ResponseFlag how, std::string_view why, EndedBy who) {
    constexpr size_t kMostErrorBytes = 512;  // for people; one flow fits a message whatever a peer made of its certificate's names
    ended = true;
    if (state.cookie == 0) state.cookie = cookie_of_no_socket();
    end_time = std::chrono::system_clock::now();
    flag = how;
    by = who;
    error = why.substr(0, kMostErrorBytes);
}

FlowEvent early_flow(Direction direction, const base::SockAddr& src, const base::SockAddr& dst, std::string_view reason_code,
                     std::string_view error) {
    TrafficFacts facts;
    facts.direction = direction;
    facts.src = src;
    facts.dst = facts.original_dst = dst;
    FlowEvent event;
    event.facts = std::make_shared<const TrafficFacts>(std::move(facts));
    event.early_reason = reason_code;
    event.end(ResponseFlag::Connect, error, EndedBy::Unknown);
    return event;
}

uint64_t socket_cookie(int fd) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (fd < 0 || ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return 0;
    return cookie;
}

}  // namespace warren::ztunnel
