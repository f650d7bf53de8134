// SPDX-License-Identifier: Apache-2.0
#include "base/http_server.h"

#include "base/http_connection.h"
#include "base/log.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

namespace warren::base {
namespace {

const log::Area kHttp("http");

constexpr int kBacklog = 128;
constexpr int kAcceptsPerTurn = 16;
constexpr auto kNoDescriptors = std::chrono::milliseconds(100);  // then accept is tried again

Result<Fd> listen_on(const SockAddr& address) {
    Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return os_error("socket", address.to_string());
    const int on = 1, off = 0;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_storage raw{};
    const unsigned length = address.to_sockaddr(raw, address.family());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) return os_error("bind", address.to_string());
    if (::listen(fd.get(), kBacklog) != 0) return os_error("listen", address.to_string());
    return fd;
}

SockAddr bound_to(int fd, const SockAddr& asked) {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return asked;
    return SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&raw), length).value_or(asked);
}

class Listener final : public IoHandler {
  public:
    Listener(HttpShared& shared, Fd fd) : shared_(shared), fd_(std::move(fd)), again_(Timer::of<&Listener::resume>(*this)) {}
    Result<void> begin() { return shared_.loop->add(fd_.get(), *this, EPOLLIN); }

  private:
    void on_io(uint32_t) override {
        for (int i = 0; i < kAcceptsPerTurn; ++i) {
            Fd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            const int os = errno;
            if (!fd && (os == EINTR || os == ECONNABORTED)) continue;
            if (!fd) {
                // Level-triggered, so without a pause a lack of descriptors would spin.
                if (os != EAGAIN && shared_.loop->modify(*this, 0)) shared_.loop->arm(again_, kNoDescriptors);
                return;
            }
            if (!make_room()) {
                shared_.refused_connections.fetch_add(1, std::memory_order_relaxed);
                continue;
            }
            HttpConnection::start(shared_, std::move(fd));
        }
    }

    void resume() { (void)shared_.loop->modify(*this, EPOLLIN); }

    bool make_room() {
        if (shared_.open < shared_.options.max_connections) return true;
        LinkList<HttpConnection> busy;
        bool room = false;
        while (HttpConnection* oldest = shared_.connections.pop_front()) {
            if (!room && oldest->may_go()) {
                oldest->end();
                shared_.evicted.fetch_add(1, std::memory_order_relaxed);
                room = true;
                continue;
            }
            busy.push_back(*oldest);
        }
        shared_.connections.take(busy);
        return room;
    }

    HttpShared& shared_;
    Fd fd_;
    Timer again_;
};

class Server final : public HttpServer {
  public:
    Server(HttpServerOptions options, Handler handler) {
        shared_.options = std::move(options);
        shared_.handler = std::move(handler);
    }
    ~Server() override {
        if (shared_.loop) shared_.loop->stop();
        if (thread_.joinable()) thread_.join();
    }

    Result<void> begin() {
        shared_.loop = TRY(Loop::create());
        Error last;
        for (const SockAddr& address : shared_.options.addresses) {
            Result<Fd> fd = listen_on(address);
            if (!fd) {
                last = std::move(fd).error();
                const bool no_such_family = address.ip.is_v6() && (last.os == EAFNOSUPPORT || last.os == EADDRNOTAVAIL);
                if (!no_such_family) return std::move(last).with(shared_.options.name);
                WARREN_LOG(kHttp, log::Level::Warn, "not listening", {"server", shared_.options.name}, {"error", last.message()});
                continue;
            }
            bound_.push_back(bound_to(fd->get(), address));
            listeners_.push_back(std::make_unique<Listener>(shared_, std::move(*fd)));
            TRY(listeners_.back()->begin());
        }
        if (listeners_.empty()) return std::move(last).with(shared_.options.name);
        return run();
    }

    [[nodiscard]] const std::vector<SockAddr>& addresses() const override { return bound_; }
    [[nodiscard]] HttpServerStats stats() const override {
        const auto get = [](const std::atomic<uint64_t>& n) { return n.load(std::memory_order_relaxed); };
        return {get(shared_.requests), get(shared_.refused_requests), get(shared_.refused_connections), get(shared_.evicted),
                get(shared_.timeouts)};
    }

  private:
    // Signals are for main.
    Result<void> run() {
        sigset_t all, before;
        ::sigfillset(&all);
        if (const int os = ::pthread_sigmask(SIG_SETMASK, &all, &before); os != 0) return os_error_of(os, "pthread_sigmask");
        int failed = 0;
        try {
            thread_ = std::thread([this] { serve(); });
        } catch (const std::system_error& e) {
            failed = e.code().value();
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        if (failed != 0) return os_error_of(failed, "start a thread", shared_.options.name);
        return {};
    }

    void serve() {
        if (const auto ran = shared_.loop->run(); !ran)
            WARREN_LOG(kHttp, log::Level::Error, "server ended", {"server", shared_.options.name}, {"error", ran.error().message()});
        while (HttpConnection* c = shared_.connections.pop_front()) c->end();
        listeners_.clear();
    }

    HttpShared shared_;
    std::vector<SockAddr> bound_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options, Handler handler) {
    auto server = std::make_unique<Server>(std::move(options), std::move(handler));
    TRY(server->begin());
    return std::unique_ptr<HttpServer>(std::move(server));
}

std::vector<SockAddr> loopback_addresses(uint16_t port, bool ipv6) {
    std::vector<SockAddr> out{{IpAddr::v4(0x7f000001), port}};
    if (ipv6) out.push_back({IpAddr::from_number(0, 1), port});
    return out;
}

std::vector<SockAddr> wildcard_address(uint16_t port, bool ipv6) { return {{ipv6 ? IpAddr() : IpAddr::v4(0), port}}; }

}  // namespace warren::base
