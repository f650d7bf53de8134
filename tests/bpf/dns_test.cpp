// SPDX-License-Identifier: Apache-2.0
// Questions of enrolled pods to resolvers: to the tunnel's, at loopback, while the application sees the one it asked.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

SockAddr resolver(const Way& way, uint16_t n = 10) {
    return {way.v6 ? IpAddr::from_number(0xfd96'0000'0000'0000, n) : IpAddr::v4(0x0a600000u + n), 53};
}

Fd datagram_server(Lab& lab, Actor& actor, const warren::base::Netns& netns, const SockAddr& at) {
    return lab.in(actor, netns, [&] {
        Fd fd(::socket(family_of(at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_storage s{};
        const socklen_t n = at.to_sockaddr(s, family_of(at));
        if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) != 0) std::perror("bind");
        return fd;
    });
}

// Receives one datagram; answers it if told to. Where it came from.
std::optional<SockAddr> take(int fd, bool answer, int wait_ms = kWaitMs) {
    pollfd p{fd, POLLIN, 0};
    if (::poll(&p, 1, wait_ms) <= 0) return std::nullopt;
    char text[64];
    sockaddr_storage s{};
    socklen_t n = sizeof s;
    const ssize_t got = ::recvfrom(fd, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&s), &n);
    if (got < 0) return std::nullopt;
    if (answer) (void)!::sendto(fd, text, static_cast<size_t>(got), 0, reinterpret_cast<const sockaddr*>(&s), n);
    return SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&s), n);
}

int ask(Lab& lab, Actor& actor, const Pod& pod, int fd, int family, const SockAddr& to) {
    return lab.in(actor, pod.netns, [&] {
        sockaddr_storage s{};
        const socklen_t n = to.to_sockaddr(s, family);
        return ::sendto(fd, "q", 1, 0, reinterpret_cast<const sockaddr*>(&s), n) == 1 ? 0 : errno;
    });
}

struct Resolvers {
    Resolvers(Lab& lab, const Pod& pod)
        : v4(datagram_server(lab, lab.tunnel, pod.netns, *SockAddr::parse("127.0.0.1:15053"))),
          v6(datagram_server(lab, lab.tunnel, pod.netns, *SockAddr::parse("[::1]:15053"))) {}
    int of(const Way& way) const { return (way.v6 ? v6 : v4).get(); }
    Fd v4, v6;
};

}  // namespace

TEST_CASE("bpf: a question by sendto is answered by the tunnel and comes from the resolver asked") {
    Lab lab;
    Pod& a = lab.pod();
    const Resolvers tunnel(lab, a);
    for (const Way& way : kWays) {
        INFO(way.name);
        const Fd fd = make_socket(lab, lab.app, a.netns, way.family, SOCK_DGRAM);
        for (const uint16_t n : {uint16_t{10}, uint16_t{11}}) {
            CHECK(ask(lab, lab.app, a, fd.get(), way.family, resolver(way, n)) == 0);
            CHECK(take(tunnel.of(way), true).has_value());
            CHECK(take(fd.get(), false) == resolver(way, n));
        }
    }
    CHECK(lab.stat(WR_STAT_DNS) == 6);
}

TEST_CASE("bpf: a connected question: peer, answer, and other datagrams of the same socket") {
    Lab lab;
    Pod& a = lab.pod();
    const Resolvers tunnel(lab, a);
    const Fd elsewhere = datagram_server(lab, lab.app, lab.node, {lab.outside.ip, 5353});
    const Fd elsewhere6 = datagram_server(lab, lab.app, lab.node, {lab.outside6.ip, 5353});
    for (const Way& way : kWays) {
        INFO(way.name);
        const Fd fd = make_socket(lab, lab.app, a.netns, way.family, SOCK_DGRAM);
        CHECK(start_connect(lab, lab.app, a.netns, fd.get(), way.family, resolver(way)) == 0);
        CHECK(peer_name(fd.get()) == resolver(way));
        CHECK(::send(fd.get(), "q", 1, 0) == 1);
        CHECK(take(tunnel.of(way), true).has_value());
        CHECK(take(fd.get(), false) == resolver(way));
        sockaddr none{};
        none.sa_family = AF_UNSPEC;
        CHECK(::connect(fd.get(), &none, sizeof none) == 0);
        const SockAddr other{way.v6 ? lab.outside6.ip : lab.outside.ip, 5353};
        CHECK(start_connect(lab, lab.app, a.netns, fd.get(), way.family, other) == 0);
        CHECK(peer_name(fd.get()) == other);
        CHECK(::send(fd.get(), "q", 1, 0) == 1);
        CHECK(take((way.v6 ? elsewhere6 : elsewhere).get(), true).has_value());
        CHECK(take(fd.get(), false) == other);
    }
}

TEST_CASE("bpf: questions of bound sockets reach the tunnel's resolver; those of a device go where they are addressed") {
    Lab lab;
    Pod& a = lab.pod();
    const Resolvers tunnel(lab, a);
    for (const Way& way : kWays) {
        INFO(way.name);
        const Fd fd = make_socket(lab, lab.app, a.netns, way.family, SOCK_DGRAM);
        sockaddr_storage s{};
        const socklen_t n = SockAddr{at(a, way, 0)}.to_sockaddr(s, way.family);
        REQUIRE(lab.in(lab.app, a.netns, [&] { return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&s), n); }) == 0);
        CHECK(ask(lab, lab.app, a, fd.get(), way.family, resolver(way)) == 0);
        const auto from = take(tunnel.of(way), true);
        CHECK(from.has_value());
        CHECK(take(fd.get(), false) == resolver(way));

        const Fd device = make_socket(lab, lab.app, a.netns, way.family, SOCK_DGRAM);
        const char name[] = "eth0";
        REQUIRE(::setsockopt(device.get(), SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name) == 0);
        CHECK(ask(lab, lab.app, a, device.get(), way.family, resolver(way)) == 0);
        CHECK_FALSE(take(tunnel.of(way), false, 20).has_value());
    }
}

TEST_CASE("bpf: the tunnel's own questions, and those to loopback, and those of a pod that opted out are left alone") {
    Lab lab;
    Pod& a = lab.pod();
    const Resolvers tunnel(lab, a);
    const Fd own = datagram_server(lab, lab.app, a.netns, *SockAddr::parse("127.0.0.53:53"));
    const Fd real = datagram_server(lab, lab.app, lab.node, {lab.outside.ip, 53});
    const Fd t = make_socket(lab, lab.tunnel, a.netns, AF_INET, SOCK_DGRAM);
    CHECK(ask(lab, lab.tunnel, a, t.get(), AF_INET, {lab.outside.ip, 53}) == 0);
    CHECK(take(real.get(), true).has_value());
    CHECK(take(t.get(), false) == SockAddr{lab.outside.ip, 53});
    const Fd c = make_socket(lab, lab.app, a.netns, AF_INET, SOCK_DGRAM);
    CHECK(ask(lab, lab.app, a, c.get(), AF_INET, *SockAddr::parse("127.0.0.53:53")) == 0);
    CHECK(take(own.get(), true).has_value());
    CHECK(take(c.get(), false) == *SockAddr::parse("127.0.0.53:53"));
    // A pod that opted out.
    lab.enrol(a, kEnrolled & ~static_cast<uint32_t>(WR_POD_DNS));
    const Fd out = make_socket(lab, lab.app, a.netns, AF_INET, SOCK_DGRAM);
    CHECK(ask(lab, lab.app, a, out.get(), AF_INET, {lab.outside.ip, 53}) == 0);
    CHECK(take(real.get(), true).has_value());
    CHECK(take(out.get(), false) == SockAddr{lab.outside.ip, 53});
    CHECK(lab.stat(WR_STAT_DNS) == 0);
}

TEST_CASE("bpf: questions over a stream reach the tunnel's resolver, bound ones too, and not where the pod opted out") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const Fd v4 = listen_at(lab, lab.tunnel, a.netns, *SockAddr::parse("127.0.0.1:15053"), AF_INET);
    const Fd v6 = listen_at(lab, lab.tunnel, a.netns, *SockAddr::parse("[::1]:15053"), AF_INET6);
    for (const Way& way : kWays)
        for (const bool bound : {false, true}) {
            INFO(way.name << " bound " << bound);
            const Dialled c = dial(lab, lab.app, a.netns, resolver(way), {way.family, 0, [&](int fd) {
                                                                              if (!bound) return;
                                                                              sockaddr_storage s{};
                                                                              const socklen_t n = at(a, way, 0).to_sockaddr(s, way.family);
                                                                              (void)!::bind(fd, reinterpret_cast<const sockaddr*>(&s), n);
                                                                          }});
            CHECK(c.error == 0);
            CHECK(peer_name(c.fd.get()) == resolver(way));
            CHECK(accept_from((way.v6 ? v6 : v4).get()).has_value());
        }
    const Dialled device =
        dial(lab, lab.app, a.netns, resolver(kWays[0]), {AF_INET, 0, [](int fd) {
                                                             const char name[] = "eth0";
                                                             (void)!::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name);
                                                         }});
    CHECK(device.error == 0);
    CHECK(accept_from(tunnel.outbound.get()).has_value());
    lab.enrol(a, WR_POD_OUTBOUND | WR_POD_INBOUND);
    CHECK(dial(lab, lab.app, a.netns, resolver(kWays[0])).error == 0);
    const auto t = accept_from(tunnel.outbound.get());
    REQUIRE(t.has_value());
    CHECK(original_destination(t->fd.get()) == resolver(kWays[0]));
}
