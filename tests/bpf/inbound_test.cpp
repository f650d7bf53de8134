// SPDX-License-Identifier: Apache-2.0
// What arrives at an enrolled pod: to the tunnel, to the application, or refused. And what the tunnel is answered.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

// As the tunnel does: transparent, a foreign source, then the application.
Dialled dial_as(Lab& lab, const Pod& pod, const SockAddr& client, const SockAddr& to) {
    const int family = family_of(to);
    return dial(lab, lab.tunnel, pod.netns, to, {family, 0, [&](int fd) {
                                                     const int on = 1;
                                                     if (family == AF_INET)
                                                         ::setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof on);
                                                     else
                                                         ::setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, &on, sizeof on);
                                                     sockaddr_storage s{};
                                                     const socklen_t n = client.to_sockaddr(s, family);
                                                     if (::bind(fd, reinterpret_cast<const sockaddr*>(&s), n) != 0) std::perror("bind");
                                                 }});
}

uint16_t checksum(const void* data, size_t n, uint32_t sum) {
    const auto* p = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i + 1 < n; i += 2) sum += static_cast<uint32_t>(p[i] << 8 | p[i + 1]);
    if (n % 2 != 0) sum += static_cast<uint32_t>(p[n - 1] << 8);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

// A SYN with that source, from a raw socket of the namespace; with IP options if asked.
void forge_syn(Lab& lab, const Pod& from, const SockAddr& source, const SockAddr& to, bool options) {
    uint8_t packet[64] = {};
    const size_t head = options ? 24 : 20;
    packet[0] = static_cast<uint8_t>(0x40 | head / 4);
    packet[8] = 64;
    packet[9] = IPPROTO_TCP;
    const uint32_t s = htonl(source.ip.v4_host_order()), d = htonl(to.ip.v4_host_order());
    std::memcpy(packet + 12, &s, 4);
    std::memcpy(packet + 16, &d, 4);
    if (options) std::memset(packet + 20, 1, 4);  // no-operation
    tcphdr tcp{};
    tcp.source = htons(source.port);
    tcp.dest = htons(to.port);
    tcp.seq = htonl(1234567);
    tcp.doff = 5;
    tcp.syn = 1;
    tcp.window = htons(65535);
    uint8_t pseudo[12 + sizeof tcp] = {};
    std::memcpy(pseudo, &s, 4);
    std::memcpy(pseudo + 4, &d, 4);
    pseudo[9] = IPPROTO_TCP;
    pseudo[11] = sizeof tcp;
    std::memcpy(pseudo + 12, &tcp, sizeof tcp);
    tcp.check = htons(checksum(pseudo, sizeof pseudo, 0));
    std::memcpy(packet + head, &tcp, sizeof tcp);
    lab.in(lab.app, from.netns, [&] {
        const Fd raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
        sockaddr_storage a{};
        const socklen_t n = SockAddr{to.ip, 0}.to_sockaddr(a, AF_INET);
        CHECK(::sendto(raw.get(), packet, head + sizeof tcp, 0, reinterpret_cast<const sockaddr*>(&a), n) > 0);
        return 0;
    });
}

}  // namespace

TEST_CASE("bpf: plaintext and HBONE from anywhere reach the tunnel's listeners, never the application") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    const Tunnel tunnel(lab, a);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    for (const Way& way : kWays) {
        INFO(way.name);
        for (const auto* netns : {&b.netns, &lab.node}) {
            const Dialled c = dial(lab, lab.app, *netns, at(a, way, 80), {way.family, 0, {}});
            CHECK(c.error == 0);
            const auto t = accept_from(tunnel.plaintext.get());
            REQUIRE(t.has_value());
            CHECK(t->peer == local_name(c.fd.get()));
            CHECK(local_name(t->fd.get()) == at(a, way, 80));
            CHECK(original_destination(t->fd.get()) == at(a, way, 80));
            const Dialled h = dial(lab, lab.app, *netns, at(a, way, kHbone), {way.family, 0, {}});
            CHECK(h.error == 0);
            CHECK(accept_from(tunnel.hbone.get()).has_value());
            // Ports nobody listens on are the tunnel's business too.
            CHECK(dial(lab, lab.app, *netns, at(a, way, 9999), {way.family, 0, {}}).error == 0);
            CHECK(accept_from(tunnel.plaintext.get()).has_value());
        }
    }
    CHECK_FALSE(accept_from(app.get(), 20).has_value());
    CHECK(lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 12);
    CHECK(lab.stat(WR_STAT_INBOUND_HBONE) == 6);
}

TEST_CASE("bpf: without the tunnel's listener an enrolled pod refuses") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    const auto fake = listen_at(lab, lab.app, a.netns, wildcard(kPlaintext), AF_INET6);  // the pod's own does not count
    for (const Way& way : kWays)
        for (const uint16_t port : {uint16_t{80}, kPlaintext, kHbone})
            CHECK(dial(lab, lab.app, b.netns, at(a, way, port), {way.family, 0, {}}).error == ECONNREFUSED);
    CHECK(lab.stat(WR_STAT_INBOUND_NO_LISTENER) == 9);
    CHECK_FALSE(accept_from(fake.get(), 0).has_value());
    CHECK_FALSE(accept_from(app.get(), 0).has_value());
}

TEST_CASE("bpf: a tunnel that dies is refused at once and heard again when it is back") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    for (int round = 0; round < 3; ++round) {
        {
            const Tunnel tunnel(lab, a);
            CHECK(dial(lab, lab.app, b.netns, at(a, kWays[0], 80)).error == 0);
        }
        CHECK(wait_until([&] { return dial(lab, lab.app, b.netns, at(a, kWays[0], 80)).error == ECONNREFUSED; }));
    }
    CHECK(lab.rows("wr_listeners") == 0);
}

TEST_CASE("bpf: an address that nobody registered is refused, a pod without inbound capture is not") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0), &c = lab.pod(WR_POD_OUTBOUND);
    const Tunnel tunnel(lab, a);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    const auto open = listen_at(lab, lab.app, c.netns, wildcard(80), AF_INET6);
    const wr_addr v4 = wire(a.v4);
    CHECK(bpf_map_delete_elem(lab.map("wr_addrs"), &v4) == 0);
    CHECK(dial(lab, lab.app, b.netns, at(a, kWays[0], 80)).error == ECONNREFUSED);
    CHECK(lab.stat(WR_STAT_INBOUND_UNKNOWN) == 1);
    for (const Way& way : kWays) {
        CHECK(dial(lab, lab.app, b.netns, at(c, way, 80), {way.family, 0, {}}).error == 0);
        CHECK(accept_from(open.get()).has_value());
    }
}

TEST_CASE("bpf: IP options change nothing about where a SYN goes (trap 6)") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    const Tunnel tunnel(lab, a);
    forge_syn(lab, b, {b.v4, 40000}, {a.v4, 80}, false);
    CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 1; }));
    forge_syn(lab, b, {b.v4, 40001}, {a.v4, 80}, true);
    CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 2; }));
    forge_syn(lab, b, {b.v4, 40002}, {a.v4, kHbone}, true);
    CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_HBONE) == 1; }));
}

TEST_CASE("bpf: a neighbour that forges an allowed pod's address reaches nothing but the tunnel") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(), &evil = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    lab.verdict(b, a, 0, WR_VERDICT_ALLOW);
    // The node checks sources at the veth (rp_filter 1): the packet does not even arrive.
    forge_syn(lab, evil, {b.v4, 40000}, {a.v4, 80}, false);
    // On a node that does not: it is the tunnel's.
    std::thread([&] {
        (void)warren::base::in_netns(lab.node, []() -> warren::base::Result<void> {
            (void)!::system("sysctl -qw net.ipv4.conf.all.rp_filter=0; for v in /proc/sys/net/ipv4/conf/v*/rp_filter; do echo 0 >$v; done");
            return {};
        });
    }).join();
    forge_syn(lab, evil, {b.v4, 40001}, {a.v4, 80}, false);
    CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 1; }));
    CHECK(lab.stat(WR_STAT_INBOUND_DIRECT) == 0);
    // Even with the very tuple announced: the answer goes to the true owner, who resets, so nothing is ever accepted.
    wr_tuple tuple{};
    tuple.source_netns = b.cookie;
    tuple.destination_netns = a.cookie;
    tuple.source = wire(b.v4);
    tuple.destination = wire(a.v4);
    tuple.source_port = 40002;
    tuple.destination_port = 80;
    lab.put("wr_announced", tuple, wr_announced{});
    forge_syn(lab, evil, {b.v4, 40002}, {a.v4, 80}, false);
    CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_DIRECT) == 1; }));
    CHECK_FALSE(accept_from(app.get(), 100).has_value());
    CHECK(lab.rows("wr_announced") == 1);
}

TEST_CASE("bpf: the server sees the true client that the tunnel binds") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    for (const Way& way : kWays) {
        INFO(way.name);
        // The application's listener is of the way's family; the tunnel dials the plain one.
        const auto app = listen_at(lab, lab.app, a.netns, {way.v6 || way.family == AF_INET6 ? IpAddr{} : IpAddr::v4(0), 80}, way.family);
        for (const uint16_t port : {uint16_t{0}, uint16_t{33333}}) {
            const SockAddr client{stranger(way).ip, port};
            const Dialled t = dial_as(lab, a, client, at(a, way, 80));
            CHECK(t.error == 0);
            CHECK(local_name(t.fd.get()).ip == at(a, way, 0).ip);
            const auto s = accept_from(app.get());
            REQUIRE(s.has_value());
            CHECK(s->peer.ip == client.ip);
            CHECK(peer_name(s->fd.get()) == s->peer);
            CHECK(s->peer.port == (port != 0 ? port : local_name(t.fd.get()).port));
            CHECK(peer_name(t.fd.get()) == at(a, way, 80));
        }
        // Bound to its own address or not at all: the pod itself.
        CHECK(dial(lab, lab.tunnel, a.netns, at(a, way, 80), {family_of(at(a, way, 80)), 0, {}}).error == 0);
        const auto s = accept_from(app.get());
        REQUIRE(s.has_value());
        CHECK(s->peer.ip == at(a, way, 0).ip);
    }
    CHECK(lab.rows("wr_handover") == 0);
    CHECK(lab.stat(WR_STAT_HANDOVER_TAKEN) == 6);
}

TEST_CASE("bpf: only the tunnel is answered, only about its own, only the options that are ours (trap 15)") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    const Tunnel tunnel(lab, a);
    const auto ask = [](int fd, int level, int name) {
        char value[128];
        socklen_t n = sizeof value;
        return ::getsockopt(fd, level, name, value, &n) == 0 ? static_cast<int>(n) : -errno;
    };
    const Dialled c = dial(lab, lab.app, a.netns, stranger(kWays[0]));
    const auto t = accept_from(tunnel.outbound.get());
    REQUIRE(t.has_value());
    const auto plain = make_socket(lab, lab.app, b.netns, AF_INET6);
    for (const int level : {SOL_IP, SOL_IPV6, SOL_SOCKET, int{IPPROTO_TCP}, int{IPPROTO_UDP}, 255})
        for (int name = 0; name < 100; ++name) {
            INFO("level " << level << " name " << name);
            // The application's end of the same connection, and of one of another pod, answer as the kernel does.
            if (name == 80 && level == SOL_IP) {
                CHECK(ask(c.fd.get(), level, name) < 0);
                CHECK(ask(t->fd.get(), level, name) == 16);
            } else if (name == 80 && level == SOL_IPV6) {
                CHECK(ask(t->fd.get(), level, name) == 28);
            } else if (name == 80) {
                CHECK(ask(t->fd.get(), level, name) == ask(plain.get(), level, name));
            }
        }
    CHECK(ask(c.fd.get(), SOL_IP, WARREN_SO_DRAWN_ENDPOINT) == -ENOPROTOOPT);
    CHECK(ask(t->fd.get(), SOL_IP, WARREN_SO_DRAWN_ENDPOINT) == -ENOENT);
    // Too small a buffer is the kernel's error, not half an address.
    char small[8];
    socklen_t n = sizeof small;
    CHECK(::getsockopt(t->fd.get(), SOL_IP, 80, small, &n) != 0);
}

TEST_CASE("bpf: at 15001 without a hand-over the tunnel gets the kernel's error") {
    Lab lab;
    Pod& a = lab.pod(WR_POD_OUTBOUND);
    const Tunnel tunnel(lab, a);
    CHECK(dial(lab, lab.app, lab.node, at(a, kWays[0], kOutbound)).error == 0);
    const auto t = accept_from(tunnel.outbound.get());
    REQUIRE(t.has_value());
    CHECK_FALSE(original_destination(t->fd.get()).has_value());
}
