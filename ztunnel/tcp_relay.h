// SPDX-License-Identifier: Apache-2.0
// TcpRelay: two TCP sockets coupled, both directions: what is not tunnelled (passthrough, plaintext into the mesh). Half-close travels
// both ways, an abort of one side resets the other. A direction holds a chunk only while its receiver is behind.
// Belongs to one worker thread; derived classes are told the end once and bury themselves.
#pragma once

#include "base/fd.h"
#include "base/loop.h"
#include "ztunnel/chunk.h"
#include "ztunnel/stream_relay.h"

namespace warren::ztunnel {

class TcpRelay : public base::Buried, public base::BatchHook {
  public:
    [[nodiscard]] uint64_t bytes_up() const { return side_[0].moved; }    // client to server
    [[nodiscard]] uint64_t bytes_down() const { return side_[1].moved; }  // server to client
    [[nodiscard]] bool live() const { return !ended_; }

  protected:
    TcpRelay(base::Loop& loop, ChunkPool& chunks, base::Fd client)
        : loop_(loop), chunks_(chunks), idle_(base::Timer::of<&TcpRelay::on_idle>(*this)) {
        side_[0].fd = std::move(client);
    }
    ~TcpRelay() override = default;

    // The connect to the server has ended: 0 or its errno. Call start_relay or end the connection.
    virtual void on_dialled(int os) = 0;
    virtual void on_relay_end(const RelayEnd& end) = 0;
    virtual void on_progress() {}  // bytes moved since the last call

    // Connects the second socket; on_dialled follows, also when time runs out.
    [[nodiscard]] base::Result<void> dial(base::Fd server, const base::SockAddr& to, std::chrono::milliseconds timeout);
    [[nodiscard]] base::Result<void> start_relay(std::chrono::milliseconds half_closed_timeout);
    void cut(std::string why);
    [[nodiscard]] int client_fd() const { return side_[0].fd.get(); }

    base::Loop& loop_;
    ChunkPool& chunks_;

  private:
    // One socket, and the direction that reads from it.
    // A side that broke (error) is read to its end first: what it had sent goes to the other, and then a reset.
    struct Side final : base::IoHandler {
        void on_io(uint32_t events) override { relay->on_side(*this, events); }
        TcpRelay* relay = nullptr;
        base::Fd fd;
        Chunk held;  // read here, not yet accepted over there
        size_t begin = 0, end = 0;
        uint64_t moved = 0;
        int error = 0;               // errno
        const char* call = nullptr;  // that had it
        bool readable = false, blocked = false, hangup = false, eof = false, shut = false;
    };
    [[nodiscard]] RelayEnd::By name(const Side& side) const { return &side == &side_[0] ? RelayEnd::By::Near : RelayEnd::By::Far; }
    Side& other(Side& side) { return &side == &side_[0] ? side_[1] : side_[0]; }
    void on_side(Side& side, uint32_t events);
    void on_batch_end() override;
    void pump(Side& from);
    void push(Side& from);
    void broke(Side& side, int os, const char* call);
    void wait_for_last_bytes();
    void on_idle();
    void end(RelayEnd how);

    Side side_[2];
    base::Timer idle_;
    std::chrono::milliseconds half_closed_timeout_{0};
    uint64_t progress_mark_ = 0;
    Side* broken_ = nullptr;  // read to its end; the other has yet to get the last bytes
    uint16_t waited_ms_ = 0;  // for them, without any moving
    bool relaying_ = false;
    bool ended_ = false;
};

}  // namespace warren::ztunnel
