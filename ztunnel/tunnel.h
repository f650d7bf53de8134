// SPDX-License-Identifier: Apache-2.0
// Tunnel: one HBONE connection, client or server: a socket, its TLS session and its HTTP/2 session, and the pump between them.
//
//   socket -> chunk -> TLS records opened in place -> HTTP/2 -> slices handed to streams -> one writev per stream and chunk
//   streams -> read straight into open records -> sealed in place -> one send for about sixteen records
//
// Everything that became ready in a batch leaves at its end, with one flush. Belongs to one worker thread; its owner is told when it is
// gone and it buries itself.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/loop.h"
#include "ztunnel/chunk.h"
#include "ztunnel/h2_session.h"
#include "ztunnel/tls_session.h"

#include <memory>
#include <string>
#include <vector>

namespace warren::ztunnel {

class Tunnel;

class TunnelOwner {
  public:
    // Server side: the client's hello was answered; its proof is still missing.
    virtual void on_tunnel_answered(Tunnel&) {}
    // TLS is done, streams may be opened. The peer is in tunnel.peer().
    virtual void on_tunnel_open(Tunnel& tunnel) = 0;
    // Server side: see H2Events::on_request.
    virtual H2Stream* on_tunnel_request(Tunnel& tunnel, int32_t id, const H2Request& request) = 0;
    // No new streams on this one: the peer said GOAWAY. Streams that are open go on.
    virtual void on_tunnel_goaway(Tunnel& tunnel) = 0;
    // A stream ended: there is room for another.
    virtual void on_tunnel_room(Tunnel& tunnel) = 0;
    // The last call; every stream has had its on_closed. why: null for an orderly end. The tunnel destroys itself after the batch.
    virtual void on_tunnel_gone(Tunnel& tunnel, const base::Error* why) = 0;

  protected:
    ~TunnelOwner() = default;
};

// Streams that received slices of the chunk being read are told once, after the chunk.
class Deliverable : public base::Link<Deliverable> {
  public:
    virtual void deliver() = 0;

  protected:
    ~Deliverable() = default;
};

struct TunnelSettings {
    H2Settings h2;
    std::chrono::milliseconds connect_timeout{10'000};
    std::chrono::milliseconds handshake_timeout{10'000};
    std::chrono::milliseconds ping_after{10'000};
    std::chrono::milliseconds ping_timeout{20'000};
    std::chrono::milliseconds saturated_for{200};
};

class Tunnel final : public base::IoHandler, public base::BatchHook, public base::Buried, private H2Events {
  public:
    enum class Stage : uint8_t { Connecting, Handshake, Open, Closing, Gone };

    // The socket is connecting (client) or accepted (server). The tunnel belongs to itself from here on.
    static base::Result<Tunnel*> start(base::Loop& loop, ChunkPool& chunks, TunnelOwner& owner, base::Fd fd, H2Role role,
                                       std::unique_ptr<TlsSession> tls, const TunnelSettings& settings);

    [[nodiscard]] Stage stage() const { return stage_; }
    [[nodiscard]] const TlsPeer& peer() const { return tls_->peer(); }
    [[nodiscard]] H2Session& h2() { return *h2_; }
    [[nodiscard]] base::Loop& loop() { return loop_; }
    [[nodiscard]] const Chunk& current_chunk() const { return current_; }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::chrono::system_clock::time_point established_at() const { return established_at_; }
    [[nodiscard]] uint32_t peer_stream_limit() const { return peer_stream_limit_; }
    // Bulk has filled it within the last moment, in either direction: what is sent now waits behind that.
    [[nodiscard]] bool saturated() const { return loop_.now() - full_at_ < settings_.saturated_for; }

    // A stream has something to send, or credit to return: flush at the end of the batch.
    void wake() { saturated() ? loop_.post_bulk(*this) : loop_.post_batch(*this); }
    // Called by streams from on_data.
    void deliver_later(Deliverable& stream) {
        if (!stream.linked()) dirty_.push_back(stream);
    }
    void room_made() { owner_->on_tunnel_room(*this); }

    // GOAWAY; ends when the last stream has.
    void drain();
    // Now: every stream is closed, the socket reset when `why` is given.
    void abort(base::Error why);
    // The peer's certificate is not trusted any more (roots or revocation list changed): as abort, and its streams are told why.
    void abort_revoked(base::Error why);
    [[nodiscard]] bool revoked() const { return revoked_; }
    // Why it ends, while its streams hear of that; null for an end without a failure.
    [[nodiscard]] const base::Error* cause() const { return cause_; }

  private:
    Tunnel(base::Loop& loop, ChunkPool& chunks, TunnelOwner& owner, base::Fd fd, std::unique_ptr<TlsSession> tls,
           const TunnelSettings& settings);
    ~Tunnel() override = default;

    void on_io(uint32_t events) override;
    void on_batch_end() override;
    H2Stream* on_request(int32_t id, const H2Request& request) override { return owner_->on_tunnel_request(*this, id, request); }
    void on_goaway(int32_t last_id, uint32_t code) override;
    void on_pong() override { pinged_ = false; }
    void on_peer_settings(uint32_t max_concurrent_streams) override { peer_stream_limit_ = max_concurrent_streams; }

    void on_timer();
    base::Result<void> read_some();
    base::Result<bool> take_bytes(std::span<uint8_t> bytes);  // false: the peer closed its side
    base::Result<void> handshake_step(std::span<uint8_t>& rest);
    base::Result<void> write_some();
    void deliver_all();
    void finish(const base::Error* why);

    base::Loop& loop_;
    ChunkPool& chunks_;
    TunnelOwner* owner_;
    const TunnelSettings& settings_;
    base::Fd fd_;
    std::unique_ptr<TlsSession> tls_;
    std::unique_ptr<H2Session> h2_;
    Chunk current_;               // while a read is being taken apart
    std::vector<uint8_t> carry_;  // the beginning of a record whose rest has not arrived
    base::LinkList<Deliverable> dirty_;
    base::Timer timer_;
    std::chrono::system_clock::time_point established_at_;
    base::MonoTime full_at_{};  // when last the socket took no more, or gave as much as a read takes
    uint32_t peer_stream_limit_ = 100;
    Stage stage_ = Stage::Connecting;
    bool readable_ = false;
    bool saw_hangup_ = false;  // data and FIN may share an event: read on until the end
    bool blocked_ = false;     // the socket is full
    bool pinged_ = false;
    bool revoked_ = false;
    const base::Error* cause_ = nullptr;  // of the caller of abort() or finish()
    bool active_ = false;                 // something was received since the last ping
};

}  // namespace warren::ztunnel
