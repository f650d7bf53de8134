// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/stream.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>

#include <utility>

namespace warren::xds {

namespace {

constexpr const char* kMethod = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

// On the monotonic clock: a jump of the wall clock must not end a stream.
gpr_timespec deadline_in(std::optional<Stream::Duration> limit) {
    if (!limit) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(limit->count(), GPR_TIMESPAN));
}

}  // namespace

Stream::Stream(std::shared_ptr<grpc::Channel> channel, const Headers& headers) : stub_(std::move(channel)) {
    for (const auto& [name, value] : headers) context_.AddMetadata(name, value);
    call_ = stub_.PrepareCall(&context_, kMethod, &queue_done_);
}

Stream::~Stream() {
    context_.TryCancel();
    queue_done_.Shutdown();
    void* done = nullptr;
    bool ok = false;
    while (queue_done_.Next(&done, &ok)) {
    }
}

Stream::Event Stream::open(Duration limit) {
    call_->StartCall(tag(kStart));
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
        const Event event = next(end - std::chrono::steady_clock::now());
        if (event != Event::Woken) return event;  // the owner looks at its wishes once the stream is open
    }
}

void Stream::write(std::string request) {
    queue_.push_back(std::move(request));
    if (!writing_) write_next();
}

void Stream::write_next() {
    const grpc::Slice slice(queue_.front());
    queue_.pop_front();
    out_ = grpc::ByteBuffer(&slice, 1);
    writing_ = true;
    call_->Write(out_, tag(kWrite));
}

void Stream::read() {
    message_.Clear();
    reading_ = true;
    call_->Read(&message_, tag(kRead));
}

std::optional<Stream::Event> Stream::handle(Tag done, bool ok) {
    switch (done) {
        case kStart: broken_ = broken_ || !ok; return ok ? Event::Sent : Event::Ended;
        case kRead:
            reading_ = false;
            broken_ = broken_ || !ok;
            return ok ? Event::Message : Event::Ended;
        case kWrite:
            writing_ = false;
            out_.Clear();
            if (!ok) {
                // The call is over; a read, under way or begun next, tells so.
                queue_.clear();
                if (reading_) return std::nullopt;
                broken_ = true;
                return Event::Ended;
            }
            if (queue_.empty()) return Event::Sent;
            write_next();
            return std::nullopt;
        case kWake: {
            const std::lock_guard lock(wake_mutex_);
            waking_ = false;
            return Event::Woken;
        }
        case kFinish: break;
    }
    return std::nullopt;
}

Stream::Event Stream::next(std::optional<Duration> limit) {
    const gpr_timespec deadline = deadline_in(limit);
    for (;;) {
        void* done = nullptr;
        bool ok = false;
        if (queue_done_.AsyncNext(&done, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return Event::TimedOut;
        if (const auto event = handle(static_cast<Tag>(reinterpret_cast<uintptr_t>(done)), ok)) return *event;
    }
}

grpc::Status Stream::finish() {
    if (!broken_) context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, tag(kFinish));
    // With the call over everything completes by itself, so no wait here depends on the peer.
    void* done = nullptr;
    bool ok = false;
    while (queue_done_.Next(&done, &ok)) {
        const auto what = static_cast<Tag>(reinterpret_cast<uintptr_t>(done));
        if (what == kFinish) break;
        if (what == kRead) reading_ = false;
        if (what == kWrite) writing_ = false;
        if (what == kWake) {
            const std::lock_guard lock(wake_mutex_);
            waking_ = false;
        }
    }
    return status;
}

void Stream::wake() {
    const std::lock_guard lock(wake_mutex_);
    if (std::exchange(waking_, true)) return;
    // Long over: gRPC rounds an alarm for "now" up to its next millisecond.
    alarm_.Set(&queue_done_, gpr_inf_past(GPR_CLOCK_MONOTONIC), tag(kWake));
}

void Stream::cancel() { context_.TryCancel(); }

}  // namespace warren::xds
