// SPDX-License-Identifier: Apache-2.0
#include "agent/node/flow_table.h"

namespace warren::node {
namespace {

namespace v1 = flow::v1;

v1::Flow parsed(const std::string& bytes) {
    v1::Flow flow;
    (void)flow.ParseFromString(bytes);  // what this table wrote
    return flow;
}

}  // namespace

int64_t time_ns(const google::protobuf::Timestamp& time) { return time.seconds() * 1'000'000'000 + time.nanos(); }

FlowTable::Change FlowTable::apply(const v1::Flow& flow, Origin origin) {
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
        open.bytes = flow.SerializeAsString();
        open.to_destination = had_to + change.to_destination;
        open.to_source = had_from + change.to_source;
    } else if (open_.size() < limits_.open) {
        open_.emplace(flow.cookie(), Open{flow.SerializeAsString(), flow.bytes_to_destination(), flow.bytes_to_source(),
                                          time_ns(flow.start_time()), origin});
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
    recent_.push_back(flow.SerializeAsString());
    if (recent_.size() > limits_.recent) recent_.pop_front();
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
        v1::Flow flow = parsed(at->second.bytes);
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

std::vector<v1::Flow> FlowTable::sweep(const std::unordered_set<uint64_t>& alive, int64_t begun_before_ns, int64_t now_ns) {
    return close_if([&](uint64_t cookie,
                        const Open& open) { return open.origin == kKernel && open.start_ns < begun_before_ns && !alive.contains(cookie); },
                    now_ns, "its end was not seen: the record was lost");
}

std::vector<v1::Flow> FlowTable::reap(Origin origin, int64_t now_ns) {
    return close_if([&](uint64_t, const Open& open) { return open.origin == origin; }, now_ns, "the tunnel that carried it has gone");
}

void FlowTable::each_open(const std::function<bool(const v1::Flow&)>& fn) const {
    for (const auto& [cookie, open] : open_) {
        if (!fn(parsed(open.bytes))) return;
    }
}

void FlowTable::each_recent(const std::function<bool(const v1::Flow&)>& fn) const {
    for (auto at = recent_.rbegin(); at != recent_.rend(); ++at) {
        if (!fn(parsed(*at))) return;
    }
}

}  // namespace warren::node
