// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tunnel.h"

#include "ztunnel/socket.h"

#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::ztunnel {

namespace {

constexpr size_t kMaxRecord = 16640;  // 5 + 2^14 + 256: the longest record RFC 8446 5.2 allows, so the longest carry

}  // namespace

Tunnel::Tunnel(base::Loop& loop, ChunkPool& chunks, TunnelOwner& owner, base::Fd fd, std::unique_ptr<TlsSession> tls,
               const TunnelSettings& settings)
    : loop_(loop),
      chunks_(chunks),
      owner_(&owner),
      settings_(settings),
      fd_(std::move(fd)),
      tls_(std::move(tls)),
      timer_(base::Timer::of<&Tunnel::on_timer>(*this)) {}

base::Result<Tunnel*> Tunnel::start(base::Loop& loop, ChunkPool& chunks, TunnelOwner& owner, base::Fd fd, H2Role role,
                                    std::unique_ptr<TlsSession> tls, const TunnelSettings& settings) {
    auto tunnel = std::unique_ptr<Tunnel, void (*)(Tunnel*)>(new Tunnel(loop, chunks, owner, std::move(fd), std::move(tls), settings),
                                                             [](Tunnel* t) { delete t; });
    tunnel->stage_ = role == H2Role::Client ? Stage::Connecting : Stage::Handshake;
    tunnel->h2_ = TRY(H2Session::create(role, settings.h2, *tunnel));
    TRY(loop.add(tunnel->fd_.get(), *tunnel, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
    loop.arm(tunnel->timer_, role == H2Role::Client ? settings.connect_timeout : settings.handshake_timeout);
    return tunnel.release();
}

void Tunnel::on_io(uint32_t events) {
    if (stage_ == Stage::Gone) return;
    if (stage_ == Stage::Connecting) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
        if (const int os = connect_result(fd_.get()); os != 0) return abort(base::os_error_of(os, "connect"));
        stage_ = Stage::Handshake;
        loop_.arm(timer_, settings_.handshake_timeout);
        if (auto hello = tls_->handshake({}); !hello) return abort(std::move(hello).error());
        wake();
    }
    if ((events & EPOLLOUT) != 0) {
        blocked_ = false;
        wake();
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) saw_hangup_ = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        readable_ = true;
        if (saturated()) return wake();  // those that carry little are read first
        if (auto read = read_some(); !read) return abort(std::move(read).error());
    }
}

// One read of about 256 KiB, then the other connections of the worker have their turn.
base::Result<void> Tunnel::read_some() {
    const Chunk chunk = chunks_.take();
    if (!chunk) {  // asked again at the end of a later batch, when others have given theirs back
        wake();
        return {};
    }
    if (!carry_.empty()) std::memcpy(chunk.data(), carry_.data(), carry_.size());
    const size_t have = carry_.size();
    const size_t room = kChunkBytes - have;
    ssize_t n = 0;
    do n = ::recv(fd_.get(), chunk.data() + have, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno != EAGAIN) return base::os_error("recv");
        readable_ = false;
        return {};
    }
    if (n == 0) {
        readable_ = false;
        // Without close_notify an attacker may have cut the stream: not a clean end (RFC 8446 6.1). Peers that are done with every
        // stream often just close.
        if (stage_ == Stage::Open && h2_->active_streams() == 0) {
            finish(nullptr);
            return {};
        }
        return base::Error{base::Errc::Unavailable, 0, "", "connection closed by the peer"};
    }
    if (static_cast<size_t>(n) == room) full_at_ = loop_.now();
    if (static_cast<size_t>(n) < room && !saw_hangup_) readable_ = false;
    active_ = true;
    current_ = chunk;
    auto more = take_bytes({chunk.data(), have + static_cast<size_t>(n)});
    deliver_all();
    current_ = {};
    if (stage_ == Stage::Gone) return {};
    if (!TRY(std::move(more))) {
        h2_->goaway(false);
        finish(nullptr);
        return {};
    }
    if (readable_) wake();
    return {};
}

// Takes records from the front while there are whole ones; the rest is carried over.
base::Result<bool> Tunnel::take_bytes(std::span<uint8_t> bytes) {
    std::span<uint8_t> rest = bytes;
    if (stage_ == Stage::Handshake) TRY(handshake_step(rest));
    bool open = true;
    while (open && stage_ != Stage::Handshake && stage_ != Stage::Gone && !rest.empty()) {
        const TlsOpened record = TRY(tls_->open(rest));
        if (record.consumed == 0) break;
        rest = rest.subspan(record.consumed);
        if (!record.data.empty()) {
            auto taken = h2_->receive(record.data);
            wake();
            if (!taken) return std::move(taken).error();
        }
        open = !record.closed;
    }
    if (rest.size() > kMaxRecord) return base::Error{base::Errc::Protocol, 0, "", "TLS record longer than 16,640 bytes"};
    carry_.assign(rest.begin(), rest.end());
    if (carry_.empty() && carry_.capacity() != 0) std::vector<uint8_t>().swap(carry_);
    return open;
}

base::Result<void> Tunnel::handshake_step(std::span<uint8_t>& rest) {
    auto taken = tls_->handshake(rest);
    wake();  // the answer, or the alert
    const size_t n = TRY(std::move(taken));
    rest = rest.subspan(n);
    if (!tls_->established()) {
        if (tls_->output().pending() > 0) owner_->on_tunnel_answered(*this);
        return {};
    }
    stage_ = Stage::Open;
    established_at_ = std::chrono::system_clock::now();
    loop_.arm(timer_, settings_.ping_after);
    owner_->on_tunnel_open(*this);
    return {};
}

void Tunnel::deliver_all() {
    while (Deliverable* stream = dirty_.pop_front()) stream->deliver();
}

void Tunnel::on_batch_end() {
    if (stage_ == Stage::Gone) return;
    if (readable_) {
        if (auto read = read_some(); !read) return abort(std::move(read).error());
        if (stage_ == Stage::Gone) return;
    }
    if (auto wrote = write_some(); !wrote) return abort(std::move(wrote).error());
    if (stage_ == Stage::Gone) return;
    if ((stage_ == Stage::Open || stage_ == Stage::Closing) && h2_->finished() && tls_->output().pending() == 0) finish(nullptr);
}

base::Result<void> Tunnel::write_some() {
    if (stage_ == Stage::Connecting) return {};
    if (blocked_) {
        // Nothing can leave, but streams that were reset hear of their end from here.
        if (stage_ != Stage::Handshake) (void)TRY(h2_->send(tls_->output()));
        return {};
    }
    // One flush of up to 512 KiB, then the other connections of the worker have their turn.
    bool more = false;
    if (stage_ == Stage::Open || stage_ == Stage::Closing) more = TRY(h2_->send(tls_->output()));
    const base::Io io = tls_->output().flush(fd_.get());
    if (io.state == base::Io::State::Failed) return base::os_error_of(io.os, "send");
    if (io.state == base::Io::State::WouldBlock) {
        blocked_ = true;
        full_at_ = loop_.now();
        return {};
    }
    if (more) wake();
    return {};
}

void Tunnel::on_goaway(int32_t, uint32_t) {
    if (stage_ == Stage::Open) stage_ = Stage::Closing;
    owner_->on_tunnel_goaway(*this);
}

void Tunnel::on_timer() {
    if (stage_ == Stage::Connecting) return abort(base::os_error_of(ETIMEDOUT, "connect"));
    if (stage_ == Stage::Handshake) return abort(base::Error{base::Errc::Timeout, 0, "", "TLS handshake timed out"});
    h2_->tick();
    if (pinged_) return abort(base::Error{base::Errc::Timeout, 0, "", "no answer to PING"});
    if (std::exchange(active_, false)) {
        // The peer spoke since: that is as good as its answer to a PING, and costs an idle tunnel nothing more.
        loop_.arm(timer_, settings_.ping_after);
        return;
    }
    pinged_ = true;
    h2_->ping();
    wake();
    loop_.arm(timer_, settings_.ping_timeout);
}

void Tunnel::drain() {
    if (stage_ == Stage::Gone) return;
    if (stage_ != Stage::Open && stage_ != Stage::Closing) return abort(base::Error{base::Errc::Unavailable, 0, "", "draining"});
    stage_ = Stage::Closing;
    h2_->goaway(true);
    wake();
}

// By value: what the error came from may end with the tunnel.
void Tunnel::abort(base::Error why) {  // NOLINT(performance-unnecessary-value-param)
    if (stage_ == Stage::Gone) return;
    cause_ = &why;  // GOAWAY alone ends streams already
    // What can still leave (an alert, GOAWAY with its code) leaves; the socket may refuse, that changes nothing.
    if (stage_ == Stage::Open || stage_ == Stage::Closing) {
        h2_->goaway(false);
        (void)h2_->send(tls_->output());
    }
    if (stage_ != Stage::Connecting) (void)tls_->output().flush(fd_.get());
    finish(&why);
}

void Tunnel::abort_revoked(base::Error why) {
    revoked_ = true;
    abort(std::move(why));
}

void Tunnel::finish(const base::Error* why) {
    if (stage_ == Stage::Gone) return;
    if (why == nullptr) {
        tls_->close();
        (void)tls_->output().flush(fd_.get());
    }
    stage_ = Stage::Gone;
    loop_.disarm(timer_);
    loop_.remove(*this);
    cause_ = why;
    h2_->abort();  // every stream hears of its end before the owner does
    owner_->on_tunnel_gone(*this, why);
    cause_ = nullptr;
    loop_.bury(std::unique_ptr<base::Buried>(this));
}

}  // namespace warren::ztunnel
