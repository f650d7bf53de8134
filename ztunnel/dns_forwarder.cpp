// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_forwarder.h"

#include <algorithm>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

namespace warren::ztunnel {

namespace {

// A single server is asked twice, for UDP loses packets; of many, three, as the C library does: who asked has given up after that.
constexpr size_t kLeastTries = 2, kMostTries = 3;
// Guesses at the id (RFC 5452 9.1) that one try puts up with: 64 of 65,536 ids, on a port that had to be found first.
constexpr size_t kMostStrangers = 64;
constexpr int kDatagramsPerTurn = 16;

bool server_failed(uint8_t rcode) {
    return rcode == static_cast<uint8_t>(dns::Rcode::ServFail) || rcode == static_cast<uint8_t>(dns::Rcode::NotImp) ||
           rcode == static_cast<uint8_t>(dns::Rcode::Refused);
}

}  // namespace

std::optional<uint16_t> DnsForwarder::random_id() {
    if (ids_left_ == 0) {
        if (::getrandom(ids_.data(), sizeof ids_, 0) != static_cast<ssize_t>(sizeof ids_)) return std::nullopt;
        ids_left_ = ids_.size();
    }
    return ids_[--ids_left_];
}

DnsExchange::DnsExchange(DnsForwarder& forwarder, const dns::Query& query, dns::Bytes message, Waiter& waiter)
    : forwarder_(forwarder),
      waiter_(waiter),
      timer_(base::Timer::of<&DnsExchange::on_timer>(*this)),
      question_bytes_(query.question.size()),
      cache_key_(DnsCache::key_of(query)) {
    dns::append_framed(framed_, message);
}

void DnsExchange::start() {
    const size_t servers = forwarder_.servers().size();
    tries_left_ = servers == 0 ? 0 : std::clamp(servers, kLeastTries, kMostTries);
    server_ = forwarder_.first_server();
    answer_due_ = true;
    attempt();
    answer_due_ = stage_ == Stage::Stopped;
    if (answer_due_) loop().arm(timer_, std::chrono::milliseconds(0));
}

void DnsExchange::stop() {
    close_socket();
    loop().disarm(timer_);
    stage_ = Stage::Stopped;
    answer_due_ = false;
}

void DnsExchange::close_socket() {
    loop().remove(*this);
    fd_.reset();
    in_ = dns::Deframer(dns::kMaxMessage);
}

void DnsExchange::attempt() {
    while (tries_left_ > 0) {
        --tries_left_;
        if (begin_udp()) return;
        server_ = (server_ + 1) % forwarder_.servers().size();
    }
    // No server is left: the code that one of them gave, else SERVFAIL.
    const Answer answer{refusal_, refused_.rcode, refused_.records};
    if (answer_due_) {
        close_socket();
        stage_ = Stage::Stopped;
        return;
    }
    finish(answer);
}

void DnsExchange::next_server() {
    close_socket();
    server_ = (server_ + 1) % forwarder_.servers().size();
    attempt();
}

bool DnsExchange::begin_udp() {
    const auto& context = forwarder_.context();
    close_socket();
    const auto id = forwarder_.random_id();
    if (!id) return false;
    id_ = *id;
    strangers_ = 0;
    dns::set_id(std::span(framed_).subspan(2), id_);
    auto fd = context.place.make([&] { return connect_udp(forwarder_.servers()[server_], context.settings.sockets); });
    if (!fd) return false;
    fd_ = std::move(*fd);
    const dns::Bytes message = dns::Bytes(framed_).subspan(2);
    if (::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) return false;
    if (!loop().add(fd_.get(), *this, EPOLLIN)) return false;
    stage_ = Stage::Udp;
    loop().arm(timer_, context.settings.upstream_timeout);
    return true;
}

bool DnsExchange::begin_tcp() {
    const auto& context = forwarder_.context();
    const base::SockAddr& server = forwarder_.servers()[server_];
    close_socket();
    sent_ = 0;
    auto fd = context.place.make([&] { return make_tcp(server.family(), context.settings.sockets); });
    if (!fd) return false;
    fd_ = std::move(*fd);
    if (!begin_connect(fd_.get(), server)) return false;
    if (!loop().add(fd_.get(), *this, EPOLLOUT)) return false;
    stage_ = Stage::TcpConnect;
    loop().arm(timer_, context.settings.upstream_timeout);
    return true;
}

void DnsExchange::on_timer() {
    if (answer_due_) return finish(Answer{});
    forwarder_.server_silent(server_);
    next_server();
}

void DnsExchange::on_io(uint32_t) {
    switch (stage_) {
        case Stage::Udp: return receive_udp();
        case Stage::TcpConnect:
            if (connect_result(fd_.get()) != 0) return next_server();
            stage_ = Stage::TcpSend;
            loop().arm(timer_, forwarder_.context().settings.upstream_timeout);
            return send_tcp();
        case Stage::TcpSend: return send_tcp();
        case Stage::TcpReceive: return receive_tcp();
        case Stage::Stopped: return;
    }
}

void DnsExchange::receive_udp() {
    std::array<uint8_t, dns::kMaxMessage> space;
    for (int i = 0; i < kDatagramsPerTurn; ++i) {
        const auto datagram = receive(fd_.get(), space);
        if (!datagram) return next_server();  // refused, unreachable: ICMP said so
        if (!*datagram) return;
        if (consider(dns::Bytes(space).first((*datagram)->bytes))) return;
        forwarder_.context().metrics.spoofed->add();
        if (++strangers_ >= kMostStrangers) return next_server();
    }
}

void DnsExchange::send_tcp() {
    while (sent_ < framed_.size()) {
        const ssize_t n = ::send(fd_.get(), framed_.data() + sent_, framed_.size() - sent_, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) return next_server();
        sent_ += static_cast<size_t>(n);
    }
    if (!loop().modify(*this, EPOLLIN)) return next_server();
    stage_ = Stage::TcpReceive;
}

void DnsExchange::receive_tcp() {
    std::array<uint8_t, 16 * 1024> space;
    const ssize_t n = ::recv(fd_.get(), space.data(), space.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n <= 0) return next_server();
    in_.feed(dns::Bytes(space).first(static_cast<size_t>(n)));
    const auto message = in_.next();
    if (in_.spoilt()) return next_server();
    if (!message) return;
    const std::vector<uint8_t> copy(message->begin(), message->end());  // in_ goes with the socket
    if (!consider(copy)) next_server();
}

bool DnsExchange::consider(dns::Bytes message) {
    const dns::Bytes question = dns::Bytes(framed_).subspan(2 + dns::kHeaderBytes, question_bytes_);
    const auto read = dns::read_answer(message, id_, question);
    if (!read) return false;
    if (read->truncated && stage_ == Stage::Udp) {
        if (!begin_tcp()) next_server();
        return true;
    }
    const Answer answer{read->bare ? dns::Bytes() : message, read->rcode, read->answers};
    if (server_failed(read->rcode) && forwarder_.servers().size() > 1 && tries_left_ > 0) {
        refusal_.assign(answer.message.begin(), answer.message.end());
        refused_ = answer;
        next_server();
        return true;
    }
    if (!read->bare) forwarder_.keep(cache_key_, message, read->ttl);
    finish(answer);
    return true;
}

void DnsExchange::finish(const Answer& answer) {
    stop();
    waiter_.on_answer(answer);
}

}  // namespace warren::ztunnel
