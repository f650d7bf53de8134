// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_table.h"

#include <algorithm>
#include <utility>

namespace warren::node {
namespace {

namespace v1 = flow::v1;

FlowTable::Bytes serialized(const v1::Flow& flow) { return std::make_shared<const std::string>(flow.SerializeAsString()); }

}  // namespace

int64_t time_ns(const google::protobuf::Timestamp& time) { return time.seconds() * 1'000'000'000 + time.nanos(); }

FlowTable::Change FlowTable::apply(const v1::Flow& flow, Origin origin, uint64_t netns) {
    // A socket may connect again after an end (a refusal, most often): same cookie, later start.
    if (const auto ended = ended_.find(flow.cookie()); ended != ended_.end() && time_ns(flow.start_time()) <= ended->second) return {};
    const auto known = open_.find(flow.cookie());
    const bool was_open = known != open_.end();
    Change change;
    change.opened = !was_open;
    change.closed = flow.has_end_time();
    // Totals only grow; a record that was overtaken by a later one adds nothing.
    const uint64_t had_to = was_open ? known->second.to_destination : 0, had_from = was_open ? known->second.to_source : 0;
    if (flow.bytes_to_destination() > had_to) change.to_destination = flow.bytes_to_destination() - had_to;
    if (flow.bytes_to_source() > had_from) change.to_source = flow.bytes_to_source() - had_from;
    change.news = change.opened || change.closed || change.to_destination != 0 || change.to_source != 0;
    if (change.opened) ++stats_.opened;
    if (change.closed) {
        if (was_open) open_.erase(known);
        close(flow);
    } else if (was_open) {
        Open& open = known->second;
        open.origin = origin;
        if (!change.news) return change;
        open.bytes = serialized(flow);
        open.to_destination = had_to + change.to_destination;
        open.to_source = had_from + change.to_source;
    } else if (open_.size() < limits_.open) {
        open_.emplace(flow.cookie(), Open{serialized(flow), flow.bytes_to_destination(), flow.bytes_to_source(), time_ns(flow.start_time()),
                                          origin, netns, looks_});
    } else {
        --stats_.opened;  // counted with its end
        ++stats_.untracked;
        change = {};
    }
    stats_.to_destination += change.to_destination;
    stats_.to_source += change.to_source;
    return change;
}

void FlowTable::close(const v1::Flow& flow) {
    ++stats_.closed;
    recent_.push_back(serialized(flow));
    if (recent_.size() > limits_.recent) {
        recent_.pop_front();
        ++recent_forgotten_;
    }
    if (ended_.insert_or_assign(flow.cookie(), time_ns(flow.end_time())).second) ended_order_.push_back(flow.cookie());
    if (ended_order_.size() > limits_.recent) {
        ended_.erase(ended_order_.front());
        ended_order_.pop_front();
    }
}

std::vector<v1::Flow> FlowTable::close_if(const std::function<bool(uint64_t, const Open&)>& ended, int64_t now_ns, const char* why) {
    std::vector<v1::Flow> lost;
    for (auto at = open_.begin(); at != open_.end();) {
        if (!ended(at->first, at->second)) {
            ++at;
            continue;
        }
        v1::Flow flow;
        (void)flow.ParseFromString(*at->second.bytes);  // what this table wrote
        flow.mutable_end_time()->set_seconds(now_ns / 1'000'000'000);
        flow.mutable_end_time()->set_nanos(static_cast<int32_t>(now_ns % 1'000'000'000));
        flow.set_close_reason(v1::CLOSE_REASON_ERROR);
        flow.set_close_detail(why);
        at = open_.erase(at);
        ++stats_.reconciled;
        close(flow);
        lost.push_back(std::move(flow));
    }
    return lost;
}

std::vector<v1::Flow> FlowTable::sweep(Look look, int64_t now_ns) {
    ++looks_;
    const std::unordered_set<uint64_t> before = std::exchange(looked_at_, std::move(look.namespaces));
    const auto ended = [&](uint64_t cookie, const Open& open) {
        if (open.origin != kKernel || open.start_ns >= look.begun_ns || look.alive.contains(cookie)) return false;
        return looked_at_.contains(open.netns) || before.contains(open.netns) || looks_ - open.looks > kUnseenLooks;
    };
    return close_if(ended, now_ns, "its end was not seen: the record was lost");
}

std::vector<v1::Flow> FlowTable::reap(Origin origin, int64_t now_ns) {
    return close_if([&](uint64_t, const Open& open) { return open.origin == origin; }, now_ns, "the tunnel that carried it has gone");
}

FlowTable::Piece FlowTable::open_from(uint64_t cookie, size_t most) const {
    Piece piece;
    for (auto at = open_.lower_bound(cookie); at != open_.end(); ++at) {
        if (piece.flows.size() == most) {
            piece.next = at->first;
            break;
        }
        piece.flows.push_back(at->second.bytes);
    }
    return piece;
}

FlowTable::Piece FlowTable::recent_from(uint64_t position, size_t most) const {
    Piece piece;
    uint64_t at = std::min(position, recent_forgotten_ + recent_.size());
    for (; at > recent_forgotten_; --at) {
        if (piece.flows.size() == most) {
            piece.next = at;
            break;
        }
        piece.flows.push_back(recent_[at - 1 - recent_forgotten_]);
    }
    return piece;
}

}  // namespace warren::node
