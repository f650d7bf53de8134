// SPDX-License-Identifier: Apache-2.0
// One DeltaAggregatedResources call: bytes out, messages in, on a completion queue of its own. Belongs to the client's thread but for
// wake() and cancel(), which any thread may call while the object lives. At most one read and one write are under way; what is to be
// written queues up, and its owner bounds it by reading no further before the queue is empty.
#pragma once

#include "agent/xds/auth_source.h"

#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace warren::xds {

class Stream {
  public:
    enum class Event : uint8_t {
        Message,   // message() has it; read() asks for the next one
        Woken,     // wake() was called
        Sent,      // the write queue is empty
        Ended,     // by the peer or by cancel(): finish() says how
        TimedOut,  // nothing of the above within the time given
    };
    using Duration = std::chrono::nanoseconds;

    Stream(std::shared_ptr<grpc::Channel> channel, const Headers& headers);
    ~Stream();  // cancels what is still going on, and waits for gRPC to let go of it
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // Resolves, connects, shakes hands and opens the call. Ended or TimedOut when it did not come to that, else Sent.
    Event open(Duration limit);
    void write(std::string request);
    void read();
    // limit none: as long as it takes; the channel's pings end a dead stream.
    Event next(std::optional<Duration> limit);
    [[nodiscard]] grpc::ByteBuffer& message() { return message_; }
    [[nodiscard]] bool reading() const { return reading_; }
    [[nodiscard]] bool writing() const { return writing_ || !queue_.empty(); }
    // Once, last: how it ended. Cancels unless the peer has ended it.
    grpc::Status finish();

    void wake();    // next() returns soon
    void cancel();  // everything under way fails soon

  private:
    enum Tag : uintptr_t { kStart = 1, kRead, kWrite, kWake, kFinish };
    static void* tag(Tag value) { return reinterpret_cast<void*>(value); }
    std::optional<Event> handle(Tag done, bool ok);
    void write_next();

    grpc::CompletionQueue queue_done_;
    grpc::ClientContext context_;
    grpc::GenericStub stub_;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
    grpc::ByteBuffer message_;
    std::deque<std::string> queue_;
    grpc::ByteBuffer out_;  // being written
    bool reading_ = false, writing_ = false, broken_ = false;
    std::mutex wake_mutex_;
    bool waking_ = false;  // its tag is on its way
    // Set anew for each wake, never destroyed while its tag is under way: gRPC 1.51 frees it under its own feet then.
    grpc::Alarm alarm_;
};

}  // namespace warren::xds
