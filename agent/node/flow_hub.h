// SPDX-License-Identifier: Apache-2.0
// FlowHub: from the flow thread to whoever listens: streams, the JSON log. Each listener has a bounded queue of its own; one that does not
// keep up loses flows and is told how many, and holds up nobody. publish() on the flow thread, the rest on any; a listener's next() blocks
// only its own thread.
#pragma once

#include "proto/flow.pb.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace warren::node {

using FlowRef = std::shared_ptr<const flow::v1::Flow>;

class FlowHub {
  public:
    using Filter = std::function<bool(const flow::v1::Flow&)>;

    class Listener {
      public:
        ~Listener();
        Listener(const Listener&) = delete;
        Listener& operator=(const Listener&) = delete;

        struct Batch {
            std::vector<FlowRef> flows;
            uint64_t lost = 0;  // by this listener so far
            bool ended = false;
        };
        // Up to `most` flows; waits for the first one at most that long. ended: the hub is closed and nothing is left.
        Batch next(size_t most, std::chrono::milliseconds patience);

      private:
        friend class FlowHub;
        Listener(FlowHub& hub, Filter filter, size_t capacity) : hub_(hub), filter_(std::move(filter)), capacity_(capacity) {}
        FlowHub& hub_;
        const Filter filter_;
        const size_t capacity_;
        std::mutex mutex_;
        std::condition_variable news_;
        std::deque<FlowRef> queue_;
        uint64_t lost_ = 0;
        bool ended_ = false;
    };

    // The hub outlives its listeners. filter runs on the flow thread; empty takes everything.
    [[nodiscard]] std::unique_ptr<Listener> listen(Filter filter, size_t capacity = 8192);
    void publish(const FlowRef& flow);
    // Losses upstream of the hub (ring full, feed overrun): every listener missed them.
    void add_lost(uint64_t n);
    void close();

    [[nodiscard]] size_t listeners() const;
    [[nodiscard]] uint64_t lost() const;  // by all listeners together, since the start

  private:
    mutable std::mutex mutex_;  // before a listener's
    std::vector<Listener*> listeners_;
    uint64_t lost_ = 0;
    bool closed_ = false;
};

}  // namespace warren::node
