// SPDX-License-Identifier: Apache-2.0
// StreamRelay: one HTTP/2 stream of a tunnel coupled with one TCP socket of an application, both directions (data-plane contract 4.7).
// Half-close travels both ways. An abort never looks like a clean end: a reset or error of the socket resets the stream with
// CONNECT_ERROR (RFC 9113 8.5), a stream that is reset before its END_STREAM resets the socket, once the application's kernel has what came
// before: stock Envoy resets the CONNECT of every connection that its HTTP layer closes, right behind the answer. A slow application stalls
// its own stream only: its credit is returned when bytes have left, the connection's at once.
//
// Belongs to one worker thread. Derived classes decide what stands at its two ends (outbound.h, inbound.h); they are told the end once
// and bury themselves.
#pragma once

#include "base/fd.h"
#include "base/loop.h"
#include "ztunnel/slice_queue.h"
#include "ztunnel/traffic.h"
#include "ztunnel/tunnel.h"

#include <memory>
#include <string>

namespace warren::ztunnel {

// Bytes that wait for slow applications, of one pod on one worker. Below the limit the connection's credit is returned as bytes arrive, so
// that a slow reader stalls its own stream only; above it the peer gets none until bytes have left.
struct BufferBudget {
    size_t limit = 0;
    size_t used = 0;
    uint64_t reached = 0;  // how often credit was held back
};

// How it ended.
struct RelayEnd {
    bool clean = true;
    std::string error = {};  // for people, when not clean
    bool revoked = false;    // the peer's certificate is not trusted any more
    // Who broke it, where that is known. Near: the socket the relay was made with; Far: the stream, or the socket it dialled.
    enum class By : uint8_t { Unknown, Near, Far, Idle } by = By::Unknown;
    [[nodiscard]] EndedBy ended_by(bool near_is_source) const {
        if (by == By::Unknown) return EndedBy::Unknown;
        if (by == By::Idle) return EndedBy::Timeout;
        return (by == By::Near) == near_is_source ? EndedBy::Source : EndedBy::Destination;
    }
};

class StreamRelay : public base::IoHandler, public H2Stream, public Deliverable, public base::Buried {
  public:
    [[nodiscard]] uint64_t bytes_from_app() const { return from_app_; }
    [[nodiscard]] uint64_t bytes_to_app() const { return to_app_; }
    [[nodiscard]] bool live() const { return !ended_; }

  protected:
    StreamRelay(base::Loop& loop, BufferBudget& budget, base::Fd fd)
        : loop_(loop), fd_(std::move(fd)), budget_(budget), idle_(base::Timer::of<&StreamRelay::on_idle>(*this)) {}
    ~StreamRelay() override = default;

    // -- derived classes
    // The relay is over; both ends are closed. The last call.
    virtual void on_relay_end(const RelayEnd& end) = 0;
    virtual void on_progress() {}  // bytes moved since the last call
    // An event of the socket before start_relay: the connect to the application ended.
    virtual void on_dial_event(uint32_t /*epoll_events*/) {}

    // The stream is open; bytes may come from now on (they wait until the socket is ready).
    void attach_stream(Tunnel& tunnel, int32_t id) {
        tunnel_ = &tunnel;
        stream_id_ = id;
    }
    // The socket is connected and the stream accepted: couple them.
    [[nodiscard]] base::Result<void> start_relay(std::chrono::milliseconds half_closed_timeout);
    // Bytes that go to the application before anything of the stream (PROXY protocol).
    void push_to_app(std::span<const uint8_t> bytes) {
        queue().push({}, bytes);
        budget_.used += bytes.size();
    }
    // The stream was refused with a status; on_relay_end follows when it has gone.
    void refused(std::string why) { error_ = std::move(why); }
    // Cut both ends now, as an abort. on_relay_end follows, from here or when the stream has gone.
    void cut(std::string why);

    // H2Stream
    void on_data(std::span<uint8_t> data) override;
    void on_end() override;
    base::Io read_payload(std::span<const iovec> gaps) override;
    void on_closed(const H2Reset* reset) override;

    base::Loop& loop_;
    base::Fd fd_;
    Tunnel* tunnel_ = nullptr;  // null once the stream has gone
    int32_t stream_id_ = 0;

  private:
    void on_io(uint32_t events) final;
    void deliver() final;
    void on_idle();
    void flush_to_app();
    void app_broke(int os);
    void fail_app(int os);
    void maybe_done();
    void begin_early_end();
    void begin_last_bytes();
    void wait_for_last_bytes();
    void end(RelayEnd how);
    SliceQueue& queue() {
        if (!queue_) queue_ = std::make_unique<SliceQueue>();
        return *queue_;
    }

    void left_queue(size_t n);

    BufferBudget& budget_;
    std::unique_ptr<SliceQueue> queue_;  // only while something waits
    size_t owed_ = 0;                    // connection credit held back
    base::Timer idle_;
    std::chrono::milliseconds half_closed_timeout_{0};
    uint64_t from_app_ = 0;
    uint64_t to_app_ = 0;
    uint64_t progress_mark_ = 0;  // bytes both ways at the last idle check; of the last bytes, those that the application lacks
    std::string error_;
    RelayEnd::By by_ = RelayEnd::By::Unknown;  // of error_
    bool relaying_ = false;
    bool readable_ = false;
    bool saw_hangup_ = false;
    bool app_eof_ = false;     // the application half-closed; END_STREAM was sent
    bool stream_end_ = false;  // END_STREAM was received
    bool shut_ = false;        // and passed on
    bool blocked_ = false;     // the application's socket is full
    bool early_end_ = false;   // END_STREAM was received, and the peer wants no more
    bool last_bytes_ = false;  // no stream any more; what the peer sent is on its way
    bool ended_ = false;
    uint16_t waited_ms_ = 0;  // for the last bytes, without any moving
    int app_error_ = 0;       // errno: the application broke the connection; what it had sent is on its way
};

}  // namespace warren::ztunnel
