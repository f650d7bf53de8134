// SPDX-License-Identifier: Apache-2.0
// What connect() of an enrolled pod does, and what either end sees, for IPv4, IPv6 and IPv4 through an IPv6 socket.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <array>
#include <cerrno>

#include <netinet/in.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

void arrives(const Tunnel& tunnel, const SockAddr& asked) {
    const auto t = accept_from(tunnel.outbound.get());
    REQUIRE(t.has_value());
    const auto said = original_destination(t->fd.get());
    REQUIRE(said.has_value());
    CHECK(*said == asked);
}

bool nothing_arrives(const Tunnel& tunnel) {
    return !accept_from(tunnel.outbound.get(), 50) && !accept_from(tunnel.plaintext.get(), 0) && !accept_from(tunnel.hbone.get(), 0);
}

}  // namespace

TEST_CASE("bpf: an enrolled pod's connection reaches the tunnel and both see the right addresses") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr to = stranger(way);
        const Dialled c = dial(lab, lab.app, a.netns, to, {way.family, 0, {}});
        CHECK(c.error == 0);
        CHECK(peer_name(c.fd.get()) == to);
        CHECK(local_name(c.fd.get()).ip == at(a, way, 0).ip);
        const auto t = accept_from(tunnel.outbound.get());
        REQUIRE(t.has_value());
        CHECK(t->peer == local_name(c.fd.get()));
        CHECK(original_destination(t->fd.get()) == to);
        send_all(c.fd.get(), "hello");
        CHECK(receive(t->fd.get(), 5) == "hello");
    }
    CHECK(lab.stat(WR_STAT_CONNECT_TUNNEL) == 3);
    CHECK(lab.stat(WR_STAT_HANDOVER_ADDED) == 3);
    CHECK(lab.stat(WR_STAT_HANDOVER_TAKEN) == 3);
    CHECK(lab.stat(WR_STAT_HANDOVER_EXPIRED) == 0);
    CHECK(lab.rows("wr_handover") == 0);
}

TEST_CASE("bpf: a pod outside the mesh and the node are untouched") {
    Lab lab;
    Pod& a = lab.pod(0);
    const auto server = listen_at(lab, lab.app, lab.node, wildcard(80), AF_INET6);
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr to = way.v6 ? lab.outside6 : lab.outside;
        const Dialled c = dial(lab, lab.app, a.netns, to, {way.family, 0, {}});
        CHECK(c.error == 0);
        const auto s = accept_from(server.get());
        REQUIRE(s.has_value());
        CHECK(s->peer == local_name(c.fd.get()));
        CHECK(dial(lab, lab.app, lab.node, to, {way.family, 0, {}}).error == 0);
        CHECK(accept_from(server.get()).has_value());
    }
    for (uint32_t s = 0; s < WR_STAT_COUNT; ++s) CHECK(lab.stat(static_cast<wr_stat>(s)) == 0);
}

TEST_CASE("bpf: a pod enrolled after its first connect is captured, and free again when it left (trap 16)") {
    Lab lab;
    Pod& a = lab.pod(0);
    const Tunnel tunnel(lab, a);
    const auto server = listen_at(lab, lab.app, lab.node, wildcard(80), AF_INET6);
    for (int round = 0; round < 3; ++round) {
        CHECK(dial(lab, lab.app, a.netns, lab.outside).error == 0);
        REQUIRE(accept_from(server.get()).has_value());
        lab.enrol(a, kEnrolled);
        CHECK(dial(lab, lab.app, a.netns, lab.outside).error == 0);
        arrives(tunnel, lab.outside);
        CHECK_FALSE(accept_from(server.get(), 20).has_value());
        lab.leave(a);
    }
}

TEST_CASE("bpf: a pod to itself and to loopback is not captured, the tunnel's ports are refused (trap 1)") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto dns = listen_at(lab, lab.tunnel, a.netns, wildcard(kDns), AF_INET6);
    const auto server = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    const std::array<const char*, 8> addresses = {"127.0.0.1", "127.8.9.10", "0.0.0.0", "::1", "::", nullptr, nullptr, "::1"};
    uint64_t refused = 0, self = 0;
    for (size_t i = 0; i < addresses.size(); ++i) {
        const IpAddr ip = i == 5 ? a.v4 : i == 6 ? a.v6 : *IpAddr::parse(addresses[i]);
        for (const int family : {AF_INET, AF_INET6}) {
            if (ip.is_v6() && family == AF_INET) continue;
            INFO(ip.to_string() << " through family " << family);
            const Dialled c = dial(lab, lab.app, a.netns, {ip, 80}, {family, 0, {}});
            CHECK(c.error == 0);
            CHECK(accept_from(server.get()).has_value());
            ++self;
            for (const uint16_t port : {kOutbound, kPlaintext, kHbone, kDns}) {
                CHECK(dial(lab, lab.app, a.netns, {ip, port}, {family, 0, {}}).error == ECONNREFUSED);
                ++refused;
            }
        }
    }
    CHECK(nothing_arrives(tunnel));
    CHECK_FALSE(accept_from(dns.get(), 0).has_value());
    CHECK(lab.stat(WR_STAT_CONNECT_AGENT_PORT) == refused);
    CHECK(lab.stat(WR_STAT_CONNECT_SELF) == self);
    CHECK(lab.rows("wr_pods") == 1);
    CHECK(dial(lab, lab.app, a.netns, lab.outside).error == 0);
    arrives(tunnel, lab.outside);
}

TEST_CASE("bpf: the tunnel's own connections are not captured again, whatever mark a pod sets (trap 42)") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto server = listen_at(lab, lab.app, lab.node, wildcard(80), AF_INET6);
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr to = way.v6 ? lab.outside6 : lab.outside;
        const Dialled c = dial(lab, lab.tunnel, a.netns, to, {way.family, 0, {}});
        CHECK(c.error == 0);
        CHECK(accept_from(server.get()).has_value());
        CHECK(nothing_arrives(tunnel));
        const auto mark = [](int fd) {
            const int value = 0x539;
            ::setsockopt(fd, SOL_SOCKET, SO_MARK, &value, sizeof value);
        };
        CHECK(dial(lab, lab.app, a.netns, to, {way.family, 0, mark}).error == 0);
        arrives(tunnel, to);
    }
    CHECK(lab.stat(WR_STAT_CONNECT_EXEMPT) == 3);
}

TEST_CASE("bpf: outside the configured ranges nothing needs the tunnel") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto server = listen_at(lab, lab.app, lab.node, wildcard(80), AF_INET6);
    lab.config.flags |= WR_CONFIG_RANGES;
    lab.configure();
    lab.put("wr_ranges", wr_range_key{96 + 24, wire(*IpAddr::parse("198.51.100.0"))}, uint32_t{1});
    lab.put("wr_ranges", wr_range_key{16, wire(*IpAddr::parse("fd99::"))}, uint32_t{1});
    for (const Way& way : kWays) {
        INFO(way.name);
        CHECK(dial(lab, lab.app, a.netns, way.v6 ? lab.outside6 : lab.outside, {way.family, 0, {}}).error == 0);
        CHECK(accept_from(server.get()).has_value());
        CHECK(dial(lab, lab.app, a.netns, stranger(way), {way.family, 0, {}}).error == 0);
        arrives(tunnel, stranger(way));
    }
    CHECK(lab.stat(WR_STAT_CONNECT_PASSTHROUGH) == 3);
}

TEST_CASE("bpf: sockets bound to an address, a port or a device are captured") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr to = stranger(way);
        const auto bound = [&](const SockAddr& source) {
            const Dialled c = dial(lab, lab.app, a.netns, to, {way.family, 0, [&](int fd) {
                                                                   sockaddr_storage s{};
                                                                   const socklen_t n = source.to_sockaddr(s, way.family);
                                                                   (void)!::bind(fd, reinterpret_cast<const sockaddr*>(&s), n);
                                                               }});
            CHECK(c.error == 0);
            CHECK(local_name(c.fd.get()).ip == at(a, way, 0).ip);
            if (source.port != 0) CHECK(local_name(c.fd.get()).port == source.port);
            arrives(tunnel, to);
        };
        bound(at(a, way, 0));
        ip_batch(a.netns, std::string("addr replace ") + (way.v6 ? "fd78::5/128 dev eth0 nodad\n" : "10.78.0.5/32 dev eth0\n"));
        const Dialled second =
            dial(lab, lab.app, a.netns, to, {way.family, 0, [&](int fd) {
                                                 sockaddr_storage s{};
                                                 const socklen_t n =
                                                     SockAddr::parse(way.v6 ? "[fd78::5]:0" : "10.78.0.5:0")->to_sockaddr(s, way.family);
                                                 (void)!::bind(fd, reinterpret_cast<const sockaddr*>(&s), n);
                                             }});
        CHECK(second.error == 0);
        arrives(tunnel, to);
        bound({way.v6 ? IpAddr{} : IpAddr::v4(0), 40001});
        bound(at(a, way, 40002));
        const Dialled c = dial(lab, lab.app, a.netns, to, {way.family, 0, [](int fd) {
                                                               const char name[] = "eth0";
                                                               (void)!::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name);
                                                           }});
        CHECK(c.error == 0);
        arrives(tunnel, to);
    }
}

TEST_CASE("bpf: a socket that disconnects and connects again is decided afresh") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto server = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    for (const Way& way : kWays) {
        INFO(way.name);
        const auto fd = make_socket(lab, lab.app, a.netns, way.family);
        for (const SockAddr& to : {stranger(way), SockAddr{stranger(way).ip, 9090}, at(a, way, 80), stranger(way)}) {
            INFO(to.to_string());
            int error = start_connect(lab, lab.app, a.netns, fd.get(), way.family, to);
            if (error == EINPROGRESS) error = outcome(fd.get());
            CHECK(error == 0);
            CHECK(peer_name(fd.get()) == to);
            if (to.port == 80)
                CHECK(accept_from(server.get()).has_value());
            else
                arrives(tunnel, to);
            sockaddr none{};
            none.sa_family = AF_UNSPEC;
            CHECK(::connect(fd.get(), &none, sizeof none) == 0);
        }
    }
    CHECK(lab.rows("wr_handover") == 0);
}

TEST_CASE("bpf: datagrams other than questions to resolvers are untouched") {
    Lab lab;
    Pod& a = lab.pod();
    const auto server = lab.in(lab.app, lab.node, [&] {
        warren::base::Fd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_storage s{};
        const socklen_t n = wildcard(5353).to_sockaddr(s, AF_INET6);
        CHECK(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) == 0);
        return fd;
    });
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr to{way.v6 ? lab.outside6.ip : lab.outside.ip, 5353};
        const auto fd = make_socket(lab, lab.app, a.netns, way.family, SOCK_DGRAM);
        CHECK(start_connect(lab, lab.app, a.netns, fd.get(), way.family, to) == 0);
        CHECK(peer_name(fd.get()) == to);
        send_all(fd.get(), "ping");
        CHECK(receive(server.get(), 4) == "ping");
    }
}

TEST_CASE("bpf: with nobody listening for the tunnel the connection is refused and leaves nothing") {
    Lab lab;
    Pod& a = lab.pod();
    for (const Way& way : kWays) CHECK(dial(lab, lab.app, a.netns, stranger(way), {way.family, 0, {}}).error == ECONNREFUSED);
    CHECK(lab.rows("wr_handover") == 0);
    CHECK(lab.stat(WR_STAT_HANDOVER_EXPIRED) == 3);
}

TEST_CASE("bpf: an IPv6 destination of a pod without an IPv6 address is refused") {
    Lab lab;
    Pod& a = lab.pod();
    const wr_pod row{.id = a.id, .flags = kEnrolled, .v4 = wire(a.v4), .v6 = {}};
    lab.put("wr_pods", a.cookie, row);
    CHECK(dial(lab, lab.app, a.netns, stranger(kWays[1]), {AF_INET6, 0, {}}).error == ECONNREFUSED);
    CHECK(lab.stat(WR_STAT_CONNECT_UNSUPPORTED) == 1);
}
