// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"
#include "tests/agent/kube/http_server.h"
#include "tests/catch.h"
#include "tests/kube/api_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <list>
#include <thread>

namespace warren::tests {

namespace {

sockaddr_in local(uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    out.sin_port = htons(port);
    return out;
}

// False at the end of the stream.
bool move(int from, int to) {
    std::array<char, 65536> piece;
    const ssize_t n = ::recv(from, piece.data(), piece.size(), 0);
    if (n <= 0) return false;
    size_t sent = 0;
    while (sent < static_cast<size_t>(n)) {
        const ssize_t m = ::send(to, piece.data() + sent, static_cast<size_t>(n) - sent, MSG_NOSIGNAL);
        if (m <= 0) return false;
        sent += static_cast<size_t>(m);
    }
    return true;
}

}  // namespace

struct TcpProxy::Impl {
    void run() {
        while (!stop.load()) {
            if (cutting.load()) {
                pairs.clear();
                cutting.store(false);
            }
            std::vector<pollfd> polled = {{listener.get(), POLLIN, 0}};
            for (const base::FdPair& pair : pairs) {
                polled.push_back({pair.first.get(), POLLIN, 0});
                polled.push_back({pair.second.get(), POLLIN, 0});
            }
            if (::poll(polled.data(), polled.size(), 10) <= 0) continue;
            size_t i = 1;
            for (auto at = pairs.begin(); at != pairs.end(); i += 2) {
                const bool open = (polled[i].revents == 0 || move(at->first.get(), at->second.get())) &&
                                  (polled[i + 1].revents == 0 || move(at->second.get(), at->first.get()));
                at = open ? std::next(at) : pairs.erase(at);
            }
            if (polled[0].revents != 0) accept_one();
        }
    }
    void accept_one() {
        base::Fd in(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!in || refusing.load()) return;
        base::Fd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const sockaddr_in to = local(target);
        if (::connect(out.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
        pairs.push_back({std::move(in), std::move(out)});
    }

    base::Fd listener;
    uint16_t target = 0, port = 0;
    std::atomic<bool> stop = false, cutting = false, refusing = false;
    std::list<base::FdPair> pairs;
    std::thread thread;
};

TcpProxy::TcpProxy(uint16_t target) : impl_(std::make_unique<Impl>()) {
    impl_->target = target;
    impl_->listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = local(0);
    socklen_t size = sizeof address;
    REQUIRE(::bind(impl_->listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(impl_->listener.get(), 64) == 0);
    REQUIRE(::getsockname(impl_->listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    impl_->port = ntohs(address.sin_port);
    impl_->thread = std::thread([this] { impl_->run(); });
}

TcpProxy::~TcpProxy() {
    impl_->stop.store(true);
    impl_->thread.join();
}

uint16_t TcpProxy::port() const { return impl_->port; }
void TcpProxy::cut() {
    impl_->cutting.store(true);
    // What the server says from now on reaches nobody; a flag alone would let the next event through.
    REQUIRE(kube::eventually([this] { return !impl_->cutting.load(); }, std::chrono::seconds(30)));
}
void TcpProxy::refuse(bool refused) { impl_->refusing.store(refused); }

}  // namespace warren::tests
