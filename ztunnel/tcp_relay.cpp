// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tcp_relay.h"

#include "ztunnel/last_bytes.h"
#include "ztunnel/socket.h"

#include <cerrno>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::ztunnel {

namespace {
constexpr int kRounds = 8;  // chunks moved one way, then the other connections of the worker have their turn
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
}  // namespace

base::Result<void> TcpRelay::dial(base::Fd server, const base::SockAddr& to, std::chrono::milliseconds timeout) {
    side_[0].relay = side_[1].relay = this;
    side_[1].fd = std::move(server);
    TRY(begin_connect(side_[1].fd.get(), to));
    loop_.arm(idle_, timeout);
    return loop_.add(side_[1].fd.get(), side_[1], kEvents);
}

base::Result<void> TcpRelay::start_relay(std::chrono::milliseconds half_closed_timeout) {
    half_closed_timeout_ = half_closed_timeout;
    relaying_ = true;
    TRY(loop_.add(side_[0].fd.get(), side_[0], kEvents));
    side_[0].readable = side_[1].readable = true;  // what came before is not reported again
    loop_.post_batch(*this);
    return {};
}

void TcpRelay::on_side(Side& side, uint32_t events) {
    if (ended_) return;
    if (!relaying_) {
        if (&side == &side_[1] && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
            // The server may have spoken and ended already; edges are not reported twice.
            if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) side.hangup = true;
            loop_.disarm(idle_);
            on_dialled(connect_result(side.fd.get()));
        }
        return;
    }
    if ((events & EPOLLERR) != 0) broke(side, connect_result(side.fd.get()), "connection");
    if (ended_ || broken_ != nullptr) return;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) side.hangup = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) side.readable = true;
    if ((events & EPOLLOUT) != 0) side.blocked = false;
    loop_.post_batch(*this);
}

void TcpRelay::on_batch_end() {
    if (ended_ || !relaying_ || broken_ != nullptr) return;
    pump(side_[0]);
    pump(side_[1]);
    on_progress();
    for (Side& side : side_) {
        if (side.error == 0 || !side.eof || side.held) continue;
        broken_ = &side;
        progress_mark_ = UINT64_MAX;
        return wait_for_last_bytes();
    }
    if (side_[0].shut && side_[1].shut) end({true, {}});
}

void TcpRelay::broke(Side& side, int os, const char* call) {
    if (side.error != 0) return;
    side.error = os != 0 ? os : ECONNRESET;
    side.call = call;
    side.readable = side.hangup = true;
    if (broken_ != nullptr) return wait_for_last_bytes();
    half_closed_timeout_ = kLastBytesWait;  // nobody is there any more whose other half may take its time
    loop_.arm(idle_, half_closed_timeout_);
    loop_.post_batch(*this);
}

// Writes what is held.
void TcpRelay::push(Side& from) {
    Side& to = other(from);
    while (from.begin < from.end && !to.blocked && to.error == 0) {
        const ssize_t n = ::send(to.fd.get(), from.held.data() + from.begin, from.end - from.begin, MSG_NOSIGNAL);
        if (n >= 0) {
            from.begin += static_cast<size_t>(n);
            from.moved += static_cast<size_t>(n);
            continue;
        }
        const int os = errno;
        if (os == EINTR) continue;
        if (os == EAGAIN)
            to.blocked = true;
        else
            broke(to, os, "send");
    }
    if (from.begin == from.end || to.error != 0) from.held = {};
}

void TcpRelay::pump(Side& from) {
    Side& to = other(from);
    push(from);
    if (to.error != 0) from.eof = true;  // there is nobody to have more
    for (int round = 0; from.readable && !from.eof && !from.held && !to.blocked && to.error == 0 && round < kRounds; ++round) {
        from.held = chunks_.take();
        if (!from.held) break;
        const ssize_t n = ::recv(from.fd.get(), from.held.data(), kChunkBytes, 0);
        if (n > 0) {
            from.begin = 0;
            from.end = static_cast<size_t>(n);
            if (from.end < kChunkBytes && !from.hangup) from.readable = false;
            push(from);
            continue;
        }
        const int os = errno;
        from.held = {};
        if (n < 0 && os == EINTR) continue;
        from.readable = false;
        if (n < 0 && os == EAGAIN) break;
        if (n < 0) broke(from, os, "recv");
        from.eof = true;
    }
    if (from.eof && !from.held && !to.shut && from.error == 0 && to.error == 0) {
        to.shut = true;
        ::shutdown(to.fd.get(), SHUT_WR);
        if (half_closed_timeout_.count() > 0) loop_.arm(idle_, half_closed_timeout_);
    }
    if (from.readable && !from.eof && !to.blocked) loop_.post_batch(*this);
}

// The reset throws away what has not arrived.
void TcpRelay::wait_for_last_bytes() {
    const Side& from = *broken_;
    Side& to = other(*broken_);
    const auto next = next_look(to.error != 0 ? 0 : unacknowledged(to.fd.get()), progress_mark_, waited_ms_);
    if (next) return loop_.arm(idle_, std::chrono::milliseconds(*next));
    reset_on_close(to.fd.get());
    end({false, base::os_error_of(from.error, from.call).message(), false, name(from)});
}

void TcpRelay::on_idle() {
    if (!relaying_) return on_dialled(ETIMEDOUT);
    if (broken_ != nullptr) return wait_for_last_bytes();
    const uint64_t now = side_[0].moved + side_[1].moved;
    if (std::exchange(progress_mark_, now) != now) {
        loop_.arm(idle_, half_closed_timeout_);
        return;
    }
    for (Side& side : side_) reset_on_close(side.fd.get());
    end({false, "half-closed without activity", false, RelayEnd::By::Idle});
}

void TcpRelay::cut(std::string why) {
    if (ended_) return;
    for (Side& side : side_)
        if (side.fd.valid()) reset_on_close(side.fd.get());
    end({false, std::move(why)});
}

void TcpRelay::end(RelayEnd how) {
    if (ended_) return;
    ended_ = true;
    loop_.disarm(idle_);
    for (Side& side : side_) {
        loop_.remove(side);
        side.fd.reset();
        side.held = {};
    }
    on_relay_end(how);
}

}  // namespace warren::ztunnel
