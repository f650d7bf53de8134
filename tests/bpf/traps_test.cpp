// SPDX-License-Identifier: Apache-2.0
// What others fell into, on the same-node path and at a pod's door. Bulk and counts are smaller under an emulator: WARREN_BPF_BULK_MIB and
// WARREN_BPF_SLOW.
#include "tests/bpf/packets.h"
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;
using Clock = std::chrono::steady_clock;

namespace {

uint64_t mebibytes(uint64_t wanted) {
    const char* text = std::getenv("WARREN_BPF_BULK_MIB");
    return (text != nullptr ? std::min<uint64_t>(wanted, std::strtoull(text, nullptr, 10)) : wanted) << 20;
}

bool is_slow() { return std::getenv("WARREN_BPF_SLOW") != nullptr; }

struct Two {
    Two() : Two(LabOptions{}) {}
    explicit Two(const LabOptions& options)
        : lab(options),
          a(lab.pod()),
          b(lab.pod()),
          tunnel_a(lab, a),
          tunnel_b(lab, b),
          app(listen_at(lab, lab.app, b.netns, wildcard(80), AF_INET6)) {}
    Dialled dial_b(const Way& way, uint16_t port = 80) { return dial(lab, lab.app, a.netns, at(b, way, port), {way.family, 0, {}}); }

    Lab lab;
    Pod &a, &b;
    Tunnel tunnel_a, tunnel_b;
    Fd app;
};

void block(int fd) {
    int off = 0;
    ::ioctl(fd, FIONBIO, &off);
}

// Blocking; stops at an error.
uint64_t write_all(int fd, uint64_t bytes) {
    const std::string piece(1 << 20, 'x');
    uint64_t done = 0;
    while (done < bytes) {
        const ssize_t n = ::send(fd, piece.data(), std::min<uint64_t>(piece.size(), bytes - done), MSG_NOSIGNAL);
        if (n <= 0) break;
        done += static_cast<uint64_t>(n);
    }
    return done;
}

// Blocking, to the end; the kernel throws the bytes away.
uint64_t drain(int fd) {
    uint64_t done = 0;
    for (ssize_t n; (n = ::recv(fd, nullptr, 1 << 20, MSG_TRUNC)) > 0;) done += static_cast<uint64_t>(n);
    return done;
}

struct Hash {
    uint64_t value = 14695981039346656037u;
    void add(const std::string& bytes, size_t n) {
        for (size_t i = 0; i < n; ++i) value = (value ^ static_cast<uint8_t>(bytes[i])) * 1099511628211u;
    }
};

std::chrono::microseconds fastest(int tries, const std::function<void()>& what) {
    auto best = std::chrono::microseconds::max();
    for (int i = 0; i < tries; ++i) {
        const auto began = Clock::now();
        what();
        best = std::min(best, std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began));
    }
    return best;
}

}  // namespace

TEST_CASE("bpf: 10,000 connects at once under a deny, with no room for records, deliver nothing (trap 2)") {
    LabOptions small;
    small.ring_bytes = 4096;
    small.announced_rows = 16;
    Two p(small);
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_DENY, 5);
    constexpr int kThreads = 8, kEach = 1250;
    std::atomic<int> refused = 0, others = 0;
    p.lab.in(p.lab.app, p.a.netns, [&] {
        std::vector<std::thread> all;  // of the actor's cgroup and namespace, as its children
        for (int t = 0; t < kThreads; ++t)
            all.emplace_back([&, t] {
                const Way& way = kWays[t % 3];
                sockaddr_storage s{};
                const socklen_t n = at(p.b, way, 80).to_sockaddr(s, way.family);
                for (int i = 0; i < kEach; ++i) {
                    const Fd fd(::socket(way.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
                    // Every second one would carry its bytes in the SYN.
                    const ssize_t done =
                        i % 2 == 0 ? ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&s), n)
                                   : ::sendto(fd.get(), "secret", 6, MSG_FASTOPEN | MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&s), n);
                    ++(done < 0 && errno == ECONNREFUSED ? refused : others);
                    (void)::send(fd.get(), "secret", 6, MSG_NOSIGNAL);
                }
            });
        for (auto& thread : all) thread.join();
        return 0;
    });
    CHECK(refused == kThreads * kEach);
    CHECK(others == 0);
    CHECK_FALSE(accept_from(p.app.get(), 20).has_value());
    CHECK_FALSE(accept_from(p.tunnel_b.plaintext.get(), 0).has_value());
    CHECK(p.lab.stat(WR_STAT_CONNECT_DENIED) == kThreads * kEach);
    CHECK(p.lab.stat(WR_STAT_EVENTS_LOST) > 0);
    CHECK(p.lab.stat(WR_STAT_EVENTS) + p.lab.stat(WR_STAT_EVENTS_LOST) == kThreads * kEach);
}

TEST_CASE("bpf: extension headers, options and fragments hide no port (trap 6)") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(0);
    const Tunnel tunnel(lab, a);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    uint16_t source = 40000;
    uint64_t plaintext = 0, hbone = 0;
    const auto arrives = [&](bool v6, Dress dress) {
        const IpAddr from = v6 ? b.v6 : b.v4, to = v6 ? a.v6 : a.v4;
        INFO((v6 ? "IPv6" : "IPv4") << ", dress " << static_cast<int>(dress));
        CHECK(send_syn(lab, b, {from, ++source}, {to, 80}, dress));
        ++plaintext;
        CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_PLAINTEXT) == plaintext; }));
        CHECK(send_syn(lab, b, {from, ++source}, {to, kHbone}, dress));
        ++hbone;
        CHECK(wait_until([&] { return lab.stat(WR_STAT_INBOUND_HBONE) == hbone; }));
    };
    for (const Dress dress : {Dress::Plain, Dress::Options, Dress::Fragments}) arrives(false, dress);
    for (const Dress dress : {Dress::Plain, Dress::HopByHop, Dress::DestinationOptions, Dress::Routing, Dress::Fragments})
        arrives(true, dress);
    CHECK(lab.stat(WR_STAT_INBOUND_DIRECT) == 0);
    CHECK_FALSE(accept_from(app.get(), 0).has_value());
}

TEST_CASE("bpf: whoever is refused hears of it within 10 ms (trap 7)") {
    const auto limit = std::chrono::milliseconds(is_slow() ? 200 : 10);
    Two p;
    Pod &stranger_pod = p.lab.pod(0), &bare = p.lab.pod();
    p.lab.verdict(p.a, p.b, 81, WR_VERDICT_DENY);
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
    for (const Way& way : kWays) {
        INFO(way.name);
        // By policy at connect; by the server's kernel on the direct path; by the door of a pod whose tunnel is not there.
        CHECK(fastest(5, [&] { CHECK(p.dial_b(way, 81).error == ECONNREFUSED); }) < limit);
        CHECK(fastest(5, [&] { CHECK(p.dial_b(way, 4444).error == ECONNREFUSED); }) < limit);
        CHECK(fastest(5, [&] {
                  CHECK(dial(p.lab, p.lab.app, stranger_pod.netns, at(bare, way, 80), {way.family, 0, {}}).error == ECONNREFUSED);
              }) < limit);
    }
    // And an open connection that is ended: both ends, by a reset that their kernels take.
    if (!kernel_is_from(6, 5)) return;
    for (const Way& way : kWays) {
        INFO(way.name);
        p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
        const Dialled c = p.dial_b(way);
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
        p.lab.verdict(p.a, p.b, 0, WR_VERDICT_DENY);
        CHECK(p.lab.iterate("wr_iter_judge", p.a).size() == 1);
        for (const auto& [fd, error] : {std::pair{c.fd.get(), ECONNABORTED}, std::pair{s->fd.get(), ECONNRESET}}) {
            pollfd waiting{fd, POLLIN, 0};
            CHECK(::poll(&waiting, 1, static_cast<int>(limit.count())) == 1);
            char byte = 0;
            CHECK(::recv(fd, &byte, 1, 0) == -1);
            CHECK(errno == error);
        }
    }
}

TEST_CASE("bpf: pods with an MTU of 9,001 start and move bulk (trap 8)") {
    // Throughput with policy on against off is the benchmark's to say.
    Two p;
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
    for (const Pod* pod : {&p.a, &p.b}) {
        ip_batch(p.lab.node, "link set v" + std::to_string(pod->id) + " mtu 9001\n");
        ip_batch(pod->netns, "link set eth0 mtu 9001\n");
    }
    for (const Way& way : kWays) {
        const Dialled c = p.dial_b(way);
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
        block(c.fd.get());
        block(s->fd.get());
        uint64_t got = 0;
        std::thread reader([&] { got = drain(s->fd.get()); });
        CHECK(write_all(c.fd.get(), mebibytes(16)) == mebibytes(16));
        ::shutdown(c.fd.get(), SHUT_WR);
        reader.join();
        CHECK(got == mebibytes(16));
    }
}

TEST_CASE("bpf: 64 MiB keep their order while the verdict changes and the server is late (trap 12)") {
    Two p;
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW, 1);
    const uint64_t size = mebibytes(64);
    const Dialled c = p.dial_b(kWays[0]);
    block(c.fd.get());
    Hash sent, got;
    uint64_t received = 0;
    std::thread writer([&] {
        std::string piece(65521, '\0');
        uint64_t random = 88172645463325252u;
        for (uint64_t done = 0; done < size;) {
            for (size_t i = 0; i + 8 <= piece.size(); i += 8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                std::memcpy(piece.data() + i, &random, sizeof random);
            }
            const ssize_t n = ::send(c.fd.get(), piece.data(), std::min<uint64_t>(piece.size(), size - done), MSG_NOSIGNAL);
            if (n <= 0) break;
            sent.add(piece, static_cast<size_t>(n));
            done += static_cast<uint64_t>(n);
        }
        ::shutdown(c.fd.get(), SHUT_WR);
    });
    // Nobody accepts until the writer has filled what there is to fill.
    pollfd full{c.fd.get(), POLLOUT, 0};
    CHECK(wait_until([&] { return ::poll(&full, 1, 0) == 0; }));
    const auto s = accept_from(p.app.get());
    REQUIRE(s.has_value());
    block(s->fd.get());
    std::atomic<bool> ended = false;
    std::thread reader([&] {
        std::string piece(1 << 16, '\0');
        for (ssize_t n; (n = ::recv(s->fd.get(), piece.data(), piece.size(), 0)) > 0;) {
            got.add(piece, static_cast<size_t>(n));
            received += static_cast<uint64_t>(n);
        }
        ended = true;
    });
    for (uint32_t policy = 2; !ended; ++policy) {
        p.lab.verdict(p.a, p.b, policy % 2 == 0 ? 80 : 0, WR_VERDICT_ALLOW, policy);
        CHECK(p.lab.iterate("wr_iter_judge", p.a).empty());
    }
    writer.join();
    reader.join();
    CHECK(received == size);
    CHECK(got.value == sent.value);
}

TEST_CASE("bpf: 5 GiB are counted as 5 GiB (trap 21)") {
    Two p;
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
    const uint64_t size = mebibytes(5120);
    {
        const Dialled c = p.dial_b(kWays[0]);
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
        block(c.fd.get());
        block(s->fd.get());
        uint64_t got = 0;
        std::thread reader([&] { got = drain(s->fd.get()); });
        CHECK(write_all(c.fd.get(), size) == size);
        ::shutdown(c.fd.get(), SHUT_WR);
        reader.join();
        CHECK(got == size);
        send_all(s->fd.get(), "thanks");
        CHECK(receive(c.fd.get(), 6) == "thanks");
        (void)p.lab.events();
    }
    std::vector<wr_flow_event> all;
    CHECK(wait_until([&] {
        for (const auto& e : p.lab.events()) all.push_back(e);
        return !all.empty();
    }));
    REQUIRE(all.size() == 1);
    CHECK(all[0].kind == WR_EVENT_CLOSE);
    CHECK(all[0].bytes_to_destination == size);
    CHECK(all[0].bytes_to_source == 6);
}

TEST_CASE("bpf: an address that 1,000 pods have had keeps none of their verdicts (trap 29)") {
    Two p;
    const wr_addr v4 = wire(p.b.v4);
    uint32_t wrong = 0;
    for (uint32_t id = 1000; id < 2000; ++id) {
        // Every other owner may be called; the one after it, at the same address, may not.
        const bool allowed = id % 2 == 0;
        p.lab.put("wr_verdicts", wr_verdict_key{p.a.id, id, 0, 0},
                  wr_verdict_row{static_cast<uint8_t>(allowed ? WR_VERDICT_ALLOW : WR_VERDICT_DENY), 0, 0, 0, 0});
        p.lab.put("wr_pods", p.b.cookie, wr_pod{.id = id, .flags = kEnrolled, .v4 = v4, .v6 = wire(p.b.v6)});
        p.lab.put("wr_addrs", v4, wr_local{.netns = p.b.cookie, .id = id, .flags = kEnrolled});
        const Dialled c = p.dial_b(kWays[0]);
        if (c.error != (allowed ? 0 : ECONNREFUSED)) ++wrong;
        if (allowed) CHECK(accept_from(p.app.get()).has_value());
        // What the owner before left open is not the next one's.
        if (id % 100 != 0) continue;
        p.lab.put("wr_pods", p.b.cookie, wr_pod{.id = id + 1, .flags = kEnrolled, .v4 = v4, .v6 = wire(p.b.v6)});
        CHECK(p.lab.iterate("wr_iter_list", p.a).size() == 1);
    }
    CHECK(wrong == 0);
    CHECK(p.lab.stat(WR_STAT_CONNECT_DENIED) == 500);
    CHECK_FALSE(accept_from(p.app.get(), 0).has_value());
    CHECK(p.lab.rows("wr_announced") == 0);
}

TEST_CASE("bpf: a pod that takes a neighbour's address into its own namespace gets nothing of the neighbour's") {
    // The hook at its door finds the neighbour's listener by the address and gives it the SYN: the kernel lets a socket of another
    // namespace be chosen. What answers is the neighbour's namespace, to the owner of the source address: no connection of the thief comes
    // about.
    Two p;
    Pod& thief = p.lab.pod();
    const Tunnel tunnel(p.lab, thief);
    const auto own = listen_at(p.lab, p.lab.app, thief.netns, wildcard(80), AF_INET6);
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
    ip_batch(thief.netns, "addr add " + p.a.v4.to_string() + "/32 dev lo\naddr add " + p.b.v4.to_string() + "/32 dev lo\n");
    // By connect: as any connection of its own pod, the tunnel's to judge, whatever address it binds.
    for (const IpAddr& source : {p.a.v4, thief.v4}) {
        const Dialled c =
            dial(p.lab, p.lab.app, thief.netns, {p.b.v4, 80}, {AF_INET, 0, [&](int fd) {
                                                                   sockaddr_storage s{};
                                                                   const socklen_t n = SockAddr{source, 0}.to_sockaddr(s, AF_INET);
                                                                   CHECK(::bind(fd, reinterpret_cast<const sockaddr*>(&s), n) == 0);
                                                               }});
        CHECK(c.error == 0);
        const auto t = accept_from(tunnel.outbound.get());
        REQUIRE(t.has_value());
        CHECK(original_destination(t->fd.get()) == SockAddr{p.b.v4, 80});
    }
    // By hand: past every hook of connect, from an allowed pod's address and from its own.
    CHECK(send_syn(p.lab, thief, {p.a.v4, 40000}, {p.b.v4, 80}, Dress::Plain));
    CHECK(wait_until([&] { return p.lab.stat(WR_STAT_INBOUND_PLAINTEXT) >= 1; }));
    const uint64_t before = p.lab.stat(WR_STAT_INBOUND_PLAINTEXT);
    CHECK(send_syn(p.lab, thief, {thief.v4, 40001}, {p.b.v4, 80}, Dress::Plain));
    CHECK(wait_until([&] { return p.lab.stat(WR_STAT_INBOUND_PLAINTEXT) > before; }));
    // With the very tuple announced it reaches what listens in its own namespace, no other.
    wr_tuple tuple{};
    tuple.source_netns = p.a.cookie;
    tuple.destination_netns = p.b.cookie;
    tuple.source = wire(p.a.v4);
    tuple.destination = wire(p.b.v4);
    tuple.source_port = 40002;
    tuple.destination_port = 80;
    p.lab.put("wr_announced", tuple, wr_announced{});
    CHECK(send_syn(p.lab, thief, {p.a.v4, 40002}, {p.b.v4, 80}, Dress::Plain));
    CHECK(wait_until([&] { return p.lab.stat(WR_STAT_INBOUND_DIRECT) >= 1; }));
    for (const int fd : {p.app.get(), p.tunnel_b.plaintext.get(), p.tunnel_b.hbone.get()}) CHECK_FALSE(accept_from(fd, 50).has_value());
    CHECK(p.lab.rows("wr_announced") == 1);
    // The neighbours do not notice.
    CHECK(p.dial_b(kWays[0]).error == 0);
    CHECK(accept_from(p.app.get()).has_value());
}

TEST_CASE("bpf: link-local addresses of enrolled pods are refused from outside and the pod's own business inside") {
    Lab lab;
    Pod& a = lab.pod();
    const Tunnel tunnel(lab, a);
    const auto app = listen_at(lab, lab.app, a.netns, wildcard(80), AF_INET6);
    ip_batch(a.netns, "addr add fe80::77/64 dev eth0 nodad\n");
    const auto connect_scoped = [&](const warren::base::Netns& netns, const std::string& device) {
        const Fd fd = make_socket(lab, lab.app, netns, AF_INET6);
        const int error = lab.in(lab.app, netns, [&] {
            sockaddr_storage s{};
            const socklen_t n = SockAddr::parse("[fe80::77]:80")->to_sockaddr(s, AF_INET6);
            reinterpret_cast<sockaddr_in6&>(s).sin6_scope_id = ::if_nametoindex(device.c_str());
            return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) == 0 ? 0 : errno;
        });
        return error == EINPROGRESS ? outcome(fd.get()) : error;
    };
    CHECK(connect_scoped(lab.node, "v1") == ECONNREFUSED);
    CHECK(lab.stat(WR_STAT_INBOUND_UNKNOWN) == 1);
    CHECK_FALSE(accept_from(app.get(), 0).has_value());
    // To itself: captured as any address that is not registered, never plain to anybody.
    CHECK(connect_scoped(a.netns, "eth0") == 0);
    const auto t = accept_from(tunnel.outbound.get());
    REQUIRE(t.has_value());
    CHECK(original_destination(t->fd.get()) == *SockAddr::parse("[fe80::77]:80"));
    CHECK_FALSE(accept_from(app.get(), 0).has_value());
}
