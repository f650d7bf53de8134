// SPDX-License-Identifier: Apache-2.0
// FlowFeed: flows on their way to the node agent over a local SOCK_SEQPACKET socket on which the agent listens (framing: proto/README.md,
// "Flow feed"). The peer must run as root or as we do (SO_PEERCRED): flows tell who talks to whom.
//
// Threads: offer() from any, lock-free and without waiting: a queue for each worker, what does not fit is lost and counted. One thread of
// its own gathers for some milliseconds, so that a busy worker pays one wake-up for hundreds of flows, sends, and connects again with
// back-off. An agent that does not read fills its socket, then the queues, and loses flows; it never holds up a worker. While nobody is
// connected the ends of flows are kept, as far as they fit; the open ones are told anew after every connect, and every few
// seconds those that have carried bytes, so that a connection of days is not known by its end alone. The source outlives this.
#pragma once

#include "base/backoff.h"
#include "base/fd.h"
#include "base/mailbox.h"
#include "base/result.h"
#include "ztunnel/flow_event.h"
#include "ztunnel/flow_message.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace warren::ztunnel {

class FlowFeed final : public FlowSink {
  public:
    struct Options {
        std::string path;  // WARREN_FLOW_SOCKET
        std::string node;
        size_t queue = 4096;  // of each worker: what 40 ms of a hundred thousand flows a second leave
        size_t kept = 4096;   // ends of flows while nobody is connected
        std::chrono::milliseconds gather{10};
        std::chrono::milliseconds progress{10'000};                     // so often open flows that have carried bytes are told again
        std::chrono::milliseconds first_wait{50}, longest_wait{5'000};  // between attempts to connect
    };
    struct Stats {
        uint64_t sent = 0, lost = 0, sessions = 0;
        bool connected = false;
    };

    static base::Result<std::unique_ptr<FlowFeed>> start(Options options, const FlowSource& source);
    // What is queued is sent, within half a second.
    ~FlowFeed() override;

    void offer(FlowEvent event) override;
    [[nodiscard]] Stats stats() const;

  private:
    static constexpr size_t kQueues = 8;
    FlowFeed(Options options, const FlowSource& source, base::Fd stop, base::Fd wake);
    void run();
    base::Result<base::Fd> connect() const;
    void session(int fd);
    bool tell(int fd, const std::vector<FlowEvent>& flows);
    void drain();
    bool wait(int fd, short events, int timeout_ms);
    bool send_flow(int fd, const FlowEvent& event);
    bool flush(int fd);
    bool send_events(int fd);

    const Options options_;
    const FlowSource& source_;
    base::Fd stop_, wake_;
    std::vector<std::unique_ptr<base::Mailbox>> queues_;
    std::deque<FlowEvent> events_;  // drained, not sent
    size_t taken_ = 0;              // of those, from the front: in the message that is being made
    FlowBatchWriter writer_;
    size_t in_writer_ = 0;
    uint64_t sequence_ = 0;
    std::atomic<bool> woken_ = false, stopping_ = false, connected_ = false;
    std::atomic<uint64_t> sent_ = 0, lost_ = 0, sessions_ = 0;
    std::thread thread_;
};

}  // namespace warren::ztunnel
