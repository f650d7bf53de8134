// SPDX-License-Identifier: Apache-2.0
// What the kernel says of listeners and of handshakes under way; the succession itself is tests/mesh/succession_test.py.
#include "ztunnel/succession.h"

#include "tests/catch.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace {

using namespace warren;

base::SockAddr name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    REQUIRE(ask(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const auto name = base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), size);
    REQUIRE(name);
    return *name;
}

base::Fd listener(const base::SockAddr& at, int family) {
    base::Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd);
    const int on = 1;
    REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    // The handshake stays under way until a byte comes.
    const int seconds = 30;
    REQUIRE(::setsockopt(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) == 0);
    sockaddr_storage address{};
    const socklen_t size = at.to_sockaddr(address, family);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd.get(), 16) == 0);
    return fd;
}

template <class Condition>
bool eventually(Condition&& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

size_t listeners_of(uint16_t port) {
    const auto all = ztunnel::listeners();
    REQUIRE(all);
    const auto found = all->find({ztunnel::ListenPlace::Kind::Tcp, {base::IpAddr{}, port}});
    return found == all->end() ? 0 : found->second;
}

}  // namespace

TEST_CASE("succession: the listeners of a port are counted, of one family and of both, and not those of one address") {
    const bool both = GENERATE(false, true);
    const base::IpAddr any = both ? base::IpAddr{} : base::IpAddr::v4(0);
    const int family = both ? AF_INET6 : AF_INET;
    const base::Fd first = listener({any, 0}, family);
    const uint16_t port = name_of(first.get(), &::getsockname).port;
    CHECK(listeners_of(port) == 1);
    {
        const base::Fd second = listener({any, port}, family);
        CHECK(listeners_of(port) == 2);
        const base::Fd narrow = listener({base::IpAddr::v4(0x7f000001), port}, AF_INET);
        CHECK(listeners_of(port) == 2);
    }
    CHECK(listeners_of(port) == 1);
}

TEST_CASE("succession: a handshake is under way until it is over") {
    const base::IpAddr to = GENERATE(base::IpAddr::v4(0x7f000001), *base::IpAddr::parse("::1"));
    const base::Fd at = listener({{}, 0}, AF_INET6);
    const base::SockAddr target{to, name_of(at.get(), &::getsockname).port};
    const base::Fd client(::socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = target.to_sockaddr(address, target.family());
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    const base::SockAddr peer = name_of(client.get(), &::getsockname);
    const auto begun = [&] {
        const auto now = ztunnel::half_open();
        REQUIRE(now);
        return now->contains(peer);
    };
    CHECK(eventually(begun));
    REQUIRE(::write(client.get(), "x", 1) == 1);
    CHECK(eventually([&] { return !begun(); }));
}
