// SPDX-License-Identifier: Apache-2.0
// One loop with everything on it: name servers that a test programs, clients over UDP and TCP, and a pod with its DNS server between them.
// Nothing sleeps: until() runs the loop to a condition or to a deadline.
#pragma once

#include "tests/policy/mesh_fixture.h"
#include "tests/ztunnel/dns_wire.h"
#include "ztunnel/dns_server.h"
#include "ztunnel/dns_socket.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace warren::tests {

using namespace std::chrono_literals;
using wire::Message;
using Messages = std::vector<Message>;

inline std::unique_ptr<base::Loop> make_loop() {
    auto loop = base::Loop::create();
    REQUIRE(loop);
    return std::move(*loop);
}

// Runs the loop until the condition holds; false: the deadline came first.
inline bool until(base::Loop& loop, const std::function<bool()>& condition, std::chrono::milliseconds patience = 5s) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        REQUIRE(loop.run_once(deadline));
    }
    return true;
}

// Calls back for a descriptor.
class Watch final : public base::IoHandler {
  public:
    Watch(base::Loop& loop, base::Fd fd, std::function<void()> on_readable) : fd_(std::move(fd)), on_readable_(std::move(on_readable)) {
        REQUIRE(loop.add(fd_.get(), *this, EPOLLIN));
    }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    void on_io(uint32_t) override { on_readable_(); }
    base::Fd fd_;
    std::function<void()> on_readable_;
};

// A name server on one address over UDP and TCP. behave() gives what to send back for a query, in order: nothing, or guesses before it.
class NameServer {
  public:
    using Behave = std::function<Messages(const Message& query, bool tcp)>;
    NameServer(base::Loop& loop, Behave behave, base::SockAddr at = {base::IpAddr::v4(0x7f000001), 0}, ztunnel::SocketOptions options = {})
        : loop_(loop), behave_(std::move(behave)) {
        options.reuse_port = false;
        for (int i = 0; i < 50 && !tcp_; ++i) {
            auto udp = ztunnel::bind_udp(at, options);
            REQUIRE(udp);
            address_ = ztunnel::local_address(udp->get());
            auto tcp = ztunnel::listen_tcp({address_, ztunnel::ListenAt::Transparent::No, 16}, options);
            if (!tcp) continue;  // the port is somebody's
            udp_ = std::make_unique<Watch>(loop, std::move(*udp), [this] { on_udp(); });
            tcp_ = std::make_unique<Watch>(loop, std::move(*tcp), [this] { on_accept(); });
        }
        REQUIRE(tcp_);
    }
    [[nodiscard]] base::SockAddr address() const { return address_; }
    std::set<uint16_t> ids, ports;  // seen over UDP
    int udp_queries = 0, tcp_queries = 0;

  private:
    void on_udp() {
        Message space(65'535);
        const auto d = ztunnel::receive(udp_->fd(), space);
        if (!d || !*d) return;
        space.resize((*d)->bytes);
        ++udp_queries;
        ids.insert(static_cast<uint16_t>(wire::get16(space, 0)));
        ports.insert((*d)->from.port);
        for (const Message& m : behave_(space, false)) ztunnel::send_to(udp_->fd(), m, (*d)->from, address_.family());
    }
    void on_accept() {
        auto accepted = ztunnel::accept_one(tcp_->fd());
        if (!accepted || !*accepted) return;
        const size_t n = clients_.size();
        framers_.push_back(std::make_unique<ztunnel::dns::Deframer>(65'535));
        clients_.push_back(std::make_unique<Watch>(loop_, std::move((*accepted)->fd), [this, n] { on_tcp(n); }));
    }
    void on_tcp(size_t n) {
        std::array<uint8_t, 4096> space;
        const ssize_t got = ::recv(clients_[n]->fd(), space.data(), space.size(), MSG_DONTWAIT);
        if (got <= 0) return loop_.remove(*clients_[n]);
        framers_[n]->feed(std::span(space).first(static_cast<size_t>(got)));
        while (const auto m = framers_[n]->next()) {
            ++tcp_queries;
            for (const Message& answer : behave_(Message(m->begin(), m->end()), true)) {
                Message framed;
                ztunnel::dns::append_framed(framed, answer);
                CHECK(::send(clients_[n]->fd(), framed.data(), framed.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(framed.size()));
            }
        }
    }
    base::Loop& loop_;
    Behave behave_;
    base::SockAddr address_;
    std::unique_ptr<Watch> udp_, tcp_;
    std::vector<std::unique_ptr<Watch>> clients_;
    std::vector<std::unique_ptr<ztunnel::dns::Deframer>> framers_;
};

// A client with one socket; what comes back is kept by id.
class Client {
  public:
    Client(base::Loop& loop, base::SockAddr server, bool tcp) : loop_(loop), tcp_(tcp) {
        auto fd = tcp ? ztunnel::make_tcp(server.family(), {}) : ztunnel::connect_udp(server, {});
        REQUIRE(fd);
        if (tcp) REQUIRE(ztunnel::begin_connect(fd->get(), server));
        watch_ = std::make_unique<Watch>(loop, std::move(*fd), [this] { on_readable(); });
    }
    void send(const Message& m) {
        Message out = m;
        if (tcp_) out.clear(), ztunnel::dns::append_framed(out, m);
        send_raw(out);
    }
    void send_raw(const Message& out) {
        // A TCP connection on the loopback may not be there yet.
        ssize_t n = -1;
        REQUIRE(until(loop_, [&] { return (n = ::send(watch_->fd(), out.data(), out.size(), MSG_NOSIGNAL)) >= 0 || errno != EAGAIN; }, 1s));
        CHECK(n == static_cast<ssize_t>(out.size()));
    }
    void shut() { ::shutdown(watch_->fd(), SHUT_WR); }
    // The answer to the query of this id, which has come or comes within the time.
    std::optional<wire::Reply> reply(uint16_t id, std::chrono::milliseconds patience = 5s) {
        if (!until(loop_, [&] { return replies.count(id) != 0 || closed; }, patience) || replies.count(id) == 0) return std::nullopt;
        return wire::read(replies[id]);
    }
    wire::Reply ask(const wire::Ask& ask) {
        replies.erase(ask.id);
        send(wire::query(ask));
        auto r = reply(ask.id);
        INFO(ask.name);
        REQUIRE(r);
        CHECK(r->question == ask.name);
        return *r;
    }
    std::map<uint16_t, Message> replies;
    std::vector<uint16_t> order;
    bool closed = false;

  private:
    void on_readable() {
        Message space(65'535);
        const ssize_t n = ::recv(watch_->fd(), space.data(), space.size(), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            closed = tcp_;
            if (tcp_) loop_.remove(*watch_);
            return;
        }
        space.resize(static_cast<size_t>(n));
        if (!tcp_) return keep(std::move(space));
        in_.feed(space);
        while (const auto m = in_.next()) keep(Message(m->begin(), m->end()));
    }
    void keep(Message m) {
        const auto id = static_cast<uint16_t>(wire::get16(m, 0));
        order.push_back(id);
        replies[id] = std::move(m);
    }
    base::Loop& loop_;
    bool tcp_;
    ztunnel::dns::Deframer in_{65'535};
    std::unique_ptr<Watch> watch_;
};

// The pod "ns1/client" of a mesh, its DNS server on loopback ports of the kernel's choice.
class DnsLab final : public ztunnel::DnsPod {
  public:
    explicit DnsLab(MeshFixture& mesh) : mesh_(mesh) {
        settings.listen.port = 0;
        auto made = ztunnel::DnsMetrics::create(registry);
        REQUIRE(made);
        metrics = std::make_unique<ztunnel::DnsMetrics>(std::move(*made));
    }
    NameServer& name_server(NameServer::Behave behave) {
        servers_.push_back(std::make_unique<NameServer>(*loop, std::move(behave)));
        conf.servers.push_back(servers_.back()->address());
        return *servers_.back();
    }
    void start() {
        if (!current) current = mesh_.snapshot();
        auto started = ztunnel::DnsServer::start({*loop, random, *this, place, settings, *metrics}, conf);
        INFO((started ? "" : started.error().message()));
        REQUIRE(started);
        server = std::move(*started);
    }
    Client client(bool tcp, size_t address = 0) { return {*loop, server->addresses(tcp).at(address), tcp}; }
    std::string ask(std::string_view name, bool tcp = false, uint16_t type = 1) {
        return client(tcp).ask({.name = std::string(name), .type = type}).text();
    }
    [[nodiscard]] bool until(const std::function<bool()>& condition) { return tests::until(*loop, condition); }

    const policy::Workload* local() override { return known ? current->local_workload("ns1", "client", "default", "") : nullptr; }
    const policy::Snapshot& snapshot() override { return *current; }
    policy::WorkloadRef stand_in() override {
        return stands_in ? policy::WorkloadRef(current->local_workload("ns1", "client", "default", "")) : policy::WorkloadRef();
    }

    std::unique_ptr<base::Loop> loop = make_loop();
    base::metrics::Registry registry;
    std::unique_ptr<ztunnel::DnsMetrics> metrics;
    ztunnel::DnsSettings settings;
    ztunnel::SocketPlace place;
    ztunnel::ResolvConf conf;
    policy::Random random{7};
    std::shared_ptr<const policy::Snapshot> current;
    bool known = true, stands_in = false;
    std::unique_ptr<ztunnel::DnsServer> server;

  private:
    MeshFixture& mesh_;
    std::vector<std::unique_ptr<NameServer>> servers_;
};

// Behaviours
inline Messages nxdomain(const Message& q, bool) { return {wire::Answer(q, 0x8183).bytes()}; }
inline Messages silent(const Message&, bool) { return {}; }
inline NameServer::Behave answers(std::string_view ip, uint32_t ttl = 60) {
    return [ip = std::string(ip), ttl](const Message& q, bool) { return Messages{wire::Answer(q).address(ip, ttl).bytes()}; };
}

}  // namespace warren::tests
