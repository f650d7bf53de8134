// SPDX-License-Identifier: Apache-2.0
// FlowTable: every connection once (trap 24): those that are open, by the kernel's cookie, and the latest that ended. Records of kernel and
// tunnel come in any order and some are lost; a sweep over what the kernel really has brings the table back to the truth.
//
// Pure values, no clock; the flow thread's. Memory: an open flow is kept as its serialized bytes, some 400; both sides are bounded and what
// does not fit is counted.
#pragma once

#include "proto/flow.pb.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace warren::node {

struct FlowTableStats {
    uint64_t opened = 0;
    uint64_t closed = 0;                         // denied ones included
    uint64_t reconciled = 0;                     // closes that only the sweep noticed
    uint64_t untracked = 0;                      // the table was full: reported when they close only
    uint64_t to_destination = 0, to_source = 0;  // application bytes, as far as they were reported
};

class FlowTable {
  public:
    struct Limits {
        size_t open = 200'000;
        size_t recent = 10'000;
    };
    explicit FlowTable(Limits limits) : limits_(limits) {}

    // Who told: the kernel, or one connection of a tunnel's feed by its number.
    using Origin = uint64_t;
    static constexpr Origin kKernel = 0;

    // What a record added to what was known of its connection.
    struct Change {
        bool opened = false;
        bool closed = false;
        bool news = false;                           // an opening, an end, new totals; else an echo
        uint64_t to_destination = 0, to_source = 0;  // bytes
    };
    // netns: cookie of the namespace of a kernel record's socket.
    Change apply(const flow::v1::Flow& flow, Origin origin, uint64_t netns = 0);

    // A look at the sockets of some namespaces: the kernel's flows in them that began before the look and are not alive have ended
    // unnoticed, and so have those of namespaces that were looked at the last time and are none of the node's any more. A pod that was
    // just captured is not among the namespaces yet, so nothing is said of its flows (but after kUnseenLooks). They are closed, with end
    // time `now_ns` (wall), and returned.
    struct Look {
        std::unordered_set<uint64_t> namespaces;
        std::unordered_set<uint64_t> alive;
        int64_t begun_ns = 0;
    };
    static constexpr uint64_t kUnseenLooks = 30;
    std::vector<flow::v1::Flow> sweep(Look look, int64_t now_ns);

    // A tunnel has gone: its flows that no other connection of a feed has told again end now.
    std::vector<flow::v1::Flow> reap(Origin origin, int64_t now_ns);

    // For readers that must not hold up the writer: a piece at a time, as serialized flows that go on living by themselves. Open ones from
    // a cookie on, in their order; ended ones from a position on, latest first. What comes or goes between two pieces may be in neither.
    using Bytes = std::shared_ptr<const std::string>;
    struct Piece {
        std::vector<Bytes> flows;
        std::optional<uint64_t> next;  // where the next one begins; none: that was all
    };
    static constexpr uint64_t kLatest = ~uint64_t{0};
    [[nodiscard]] Piece open_from(uint64_t cookie, size_t most) const;
    [[nodiscard]] Piece recent_from(uint64_t position, size_t most) const;
    [[nodiscard]] size_t open_count() const { return open_.size(); }
    [[nodiscard]] const FlowTableStats& stats() const { return stats_; }

  private:
    struct Open {
        Bytes bytes;
        uint64_t to_destination = 0, to_source = 0;
        int64_t start_ns = 0;
        Origin origin = kKernel;
        uint64_t netns = 0;
        uint64_t looks = 0;  // made before it was opened
    };
    void close(const flow::v1::Flow& flow);
    std::vector<flow::v1::Flow> close_if(const std::function<bool(uint64_t, const Open&)>& ended, int64_t now_ns, const char* why);

    const Limits limits_;
    std::map<uint64_t, Open> open_;
    std::deque<Bytes> recent_;       // oldest first
    uint64_t recent_forgotten_ = 0;  // position of the oldest
    std::unordered_set<uint64_t> looked_at_;
    uint64_t looks_ = 0;
    // Cookies that ended lately, and when: a record that was overtaken by its own end is no new connection.
    std::unordered_map<uint64_t, int64_t> ended_;
    std::deque<uint64_t> ended_order_;
    FlowTableStats stats_;
};

[[nodiscard]] int64_t time_ns(const google::protobuf::Timestamp& time);

}  // namespace warren::node
