// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_tcp_client.h"

#include <array>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::ztunnel {

DnsTcpClient::DnsTcpClient(base::Loop& loop, Owner& owner, base::Fd fd, uint64_t id, Limits limits)
    : loop_(loop),
      owner_(owner),
      fd_(std::move(fd)),
      id_(id),
      limits_(limits),
      idle_(base::Timer::of<&DnsTcpClient::on_idle>(*this)),
      interest_(EPOLLIN) {
    loop_.arm(idle_, limits_.idle);
}

void DnsTcpClient::close() {
    loop_.remove(*this);
    loop_.disarm(idle_);
    fd_.reset();
}

void DnsTcpClient::fail(bool blocked) {
    if (!fd_.valid()) return;
    close();
    owner_.on_closed(*this, blocked);
}

void DnsTcpClient::drain() {
    draining_ = true;
    if (!eof_) read_some();  // a query may have arrived with the connection
    if (!fd_.valid()) return;
    eof_ |= asked_;
    settle();
}

void DnsTcpClient::on_idle() {
    // Whoever waits for an answer of ours is not idle; the answer has a deadline of its own.
    if (in_flight_ == 0 || sent_ < out_.size()) return fail(sent_ < out_.size());
    loop_.arm(idle_, limits_.idle);
}

void DnsTcpClient::on_io(uint32_t epoll_events) {
    if ((epoll_events & (EPOLLERR | EPOLLHUP)) != 0) return fail(false);
    if ((epoll_events & EPOLLOUT) != 0) {
        flush();
        if (fd_.valid()) deliver();
    }
    if (fd_.valid() && (epoll_events & EPOLLIN) != 0) read_some();
    if (fd_.valid()) settle();
}

void DnsTcpClient::read_some() {
    std::array<uint8_t, 4096> space;
    const ssize_t n = ::recv(fd_.get(), space.data(), space.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n < 0) return fail(false);
    if (n == 0) {
        eof_ = true;
        return;
    }
    in_.feed(dns::Bytes(space).first(static_cast<size_t>(n)));
    deliver();
}

void DnsTcpClient::deliver() {
    delivering_ = true;
    // What it has asked for waits until it has taken what it was answered.
    while (fd_.valid() && in_flight_ < limits_.in_flight && sent_ == out_.size()) {
        const auto message = in_.next();
        if (!message) break;
        ++in_flight_;
        asked_ = true;
        eof_ |= draining_;
        owner_.on_message(*this, *message);
    }
    delivering_ = false;
    if (fd_.valid() && in_.spoilt()) fail(false);
}

void DnsTcpClient::reply(dns::Bytes message) {
    if (!fd_.valid()) return;
    --in_flight_;
    if (out_.size() - sent_ + message.size() > kMaxUnsent) return fail(true);
    dns::append_framed(out_, message);
    flush();
    if (!fd_.valid() || delivering_) return;
    deliver();
    if (fd_.valid()) settle();
}

void DnsTcpClient::flush() {
    while (sent_ < out_.size()) {
        const ssize_t n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n < 0) return fail(false);
        sent_ += static_cast<size_t>(n);
    }
    if (out_.empty()) return;
    out_.clear();
    sent_ = 0;
    // Answers taken keep it alive; one byte of a query now and then does not.
    loop_.arm(idle_, limits_.idle);
}

void DnsTcpClient::settle() {
    const bool unsent = sent_ < out_.size();
    if (eof_ && in_flight_ == 0 && !unsent) return fail(false);
    const bool read = !eof_ && !unsent && in_flight_ < limits_.in_flight;
    const uint32_t wanted = (read ? uint32_t{EPOLLIN} : 0u) | (unsent ? uint32_t{EPOLLOUT} : 0u);
    if (wanted == interest_) return;
    interest_ = wanted;
    if (!loop_.modify(*this, wanted)) fail(false);
}

}  // namespace warren::ztunnel
