// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/tcp_relay.h"

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
    if ((events & EPOLLERR) != 0) {
        const int os = connect_result(side.fd.get());
        reset_on_close(other(side).fd.get());
        return end({false, base::os_error_of(os != 0 ? os : ECONNRESET, "connection").message(), false, name(side)});
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) side.hangup = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) side.readable = true;
    if ((events & EPOLLOUT) != 0) side.blocked = false;
    loop_.post_batch(*this);
}

void TcpRelay::on_batch_end() {
    if (ended_ || !relaying_) return;
    if (!pump(side_[0]) || !pump(side_[1])) return;
    on_progress();
    if (side_[0].shut && side_[1].shut) end({true, {}});
}

// Writes what is held; false: the relay ended.
bool TcpRelay::push(Side& from) {
    Side& to = other(from);
    while (from.begin < from.end && !to.blocked) {
        const ssize_t n = ::send(to.fd.get(), from.held.data() + from.begin, from.end - from.begin, MSG_NOSIGNAL);
        if (n >= 0) {
            from.begin += static_cast<size_t>(n);
            from.moved += static_cast<size_t>(n);
            continue;
        }
        const int os = errno;
        if (os == EINTR) continue;
        if (os == EAGAIN) {
            to.blocked = true;
            break;
        }
        reset_on_close(from.fd.get());
        end({false, base::os_error_of(os, "send").message(), false, name(to)});
        return false;
    }
    if (from.begin == from.end) from.held = {};
    return true;
}

bool TcpRelay::pump(Side& from) {
    Side& to = other(from);
    if (!push(from)) return false;
    for (int round = 0; from.readable && !from.held && !to.blocked && round < kRounds; ++round) {
        from.held = chunks_.take();
        if (!from.held) break;
        const ssize_t n = ::recv(from.fd.get(), from.held.data(), kChunkBytes, 0);
        if (n <= 0) from.held = {};
        if (n > 0) {
            from.begin = 0;
            from.end = static_cast<size_t>(n);
            if (from.end < kChunkBytes && !from.hangup) from.readable = false;
            if (!push(from)) return false;
            continue;
        }
        const int os = errno;
        if (n < 0 && os == EINTR) continue;
        from.readable = false;
        if (n == 0) {
            from.eof = true;
        } else if (os != EAGAIN) {
            reset_on_close(to.fd.get());
            end({false, base::os_error_of(os, "recv").message(), false, name(from)});
            return false;
        }
    }
    if (from.eof && !from.held && !to.shut) {
        to.shut = true;
        ::shutdown(to.fd.get(), SHUT_WR);
        if (half_closed_timeout_.count() > 0) loop_.arm(idle_, half_closed_timeout_);
    }
    if (from.readable && !to.blocked) loop_.post_batch(*this);
    return true;
}

void TcpRelay::on_idle() {
    if (!relaying_) return on_dialled(ETIMEDOUT);
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
