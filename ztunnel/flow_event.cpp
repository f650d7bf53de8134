// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/flow_event.h"

#include <sys/socket.h>

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

void FlowEvent::end(ResponseFlag how, std::string_view why, EndedBy who) {
    constexpr size_t kMostErrorBytes = 512;  // for people; one flow fits a message whatever a peer made of its certificate's names
    ended = true;
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
