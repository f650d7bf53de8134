// SPDX-License-Identifier: Apache-2.0
// The same-node path: verdicts, announcements, services, records, judging again.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <bpf/bpf.h>

#include <array>
#include <cerrno>
#include <cmath>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

// Two pods with applications on port 80 and tunnels, a allowed to b.
struct Pair {
    Pair() : a(lab.pod()), b(lab.pod()), tunnel_a(lab, a), tunnel_b(lab, b), app(listen_at(lab, lab.app, b.netns, wildcard(80), AF_INET6)) {
        lab.verdict(a, b, 0, WR_VERDICT_ALLOW, 11, 2);
    }
    Dialled dial_b(const Way& way, uint16_t port = 80) { return dial(lab, lab.app, a.netns, at(b, way, port), {way.family, 0, {}}); }

    Lab lab;
    Pod &a, &b;
    Tunnel tunnel_a, tunnel_b;
    Fd app;
};

wr_endpoint_row endpoint(const IpAddr& ip, uint16_t port, uint32_t threshold = 0, uint32_t alias = 0) {
    return {wire(ip), threshold, alias, port, 0};
}

std::optional<wr_drawn> drawn(int fd) {
    wr_drawn out;
    socklen_t n = sizeof out;
    if (::getsockopt(fd, SOL_IP, WARREN_SO_DRAWN_ENDPOINT, &out, &n) != 0 || n != sizeof out) return std::nullopt;
    return out;
}

Fd taken(int listener) {
    auto arrived = accept_from(listener);
    REQUIRE(arrived.has_value());
    return std::move(arrived->fd);
}

void shell_in(const warren::base::Netns& netns, const char* command) {
    std::thread([&] {
        (void)warren::base::in_netns(netns, [&]() -> warren::base::Result<void> {
            (void)!::system(command);
            return {};
        });
    }).join();
}

void close_quietly(Dialled& c) {
    const linger now{1, 0};
    ::setsockopt(c.fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    c.fd.reset();
}

std::string congestion_of(int fd) {
    char name[16] = {};
    socklen_t n = sizeof name;
    ::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n);
    return name;
}

}  // namespace

TEST_CASE("bpf: an allowed connection of the node goes straight to the application, announced once") {
    Pair p;
    for (const Way& way : kWays) {
        INFO(way.name);
        const Dialled c = p.dial_b(way);
        CHECK(c.error == 0);
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
        CHECK(s->peer == local_name(c.fd.get()));
        CHECK(s->peer.ip == at(p.a, way, 0).ip);
        CHECK(peer_name(c.fd.get()) == at(p.b, way, 80));
        send_all(c.fd.get(), "abc");
        CHECK(receive(s->fd.get(), 3) == "abc");
    }
    CHECK(p.lab.stat(WR_STAT_ANNOUNCED) == 3);
    CHECK(p.lab.stat(WR_STAT_ANNOUNCED_TAKEN) == 3);
    CHECK(p.lab.stat(WR_STAT_INBOUND_DIRECT) == 3);
    CHECK(p.lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 0);
    CHECK(p.lab.rows("wr_announced") == 0);
    // The other direction has no row: the tunnel.
    const auto back = listen_at(p.lab, p.lab.app, p.a.netns, wildcard(80), AF_INET6);
    CHECK(dial(p.lab, p.lab.app, p.b.netns, at(p.a, kWays[0], 80)).error == 0);
    CHECK(accept_from(p.tunnel_b.outbound.get()).has_value());
    CHECK(p.lab.stat(WR_STAT_VERDICT_MISS) == 1);
}

TEST_CASE("bpf: a port's own row comes before the row of every port, and a denied connection names its policy") {
    Pair p;
    p.lab.verdict(p.a, p.b, 81, WR_VERDICT_DENY, 42, 3);
    p.lab.verdict(p.a, p.b, 82, WR_VERDICT_TUNNEL);
    for (const Way& way : kWays) {
        INFO(way.name);
        (void)p.lab.events();
        CHECK(p.dial_b(way, 81).error == ECONNREFUSED);
        const auto events = p.lab.events();
        REQUIRE(events.size() == 1);
        const wr_flow_event& e = events[0];
        CHECK(e.kind == WR_EVENT_DENIED);
        CHECK(e.verdict == WR_VERDICT_DENY);
        CHECK(e.policy == 42);
        CHECK(e.rule == 3);
        CHECK(e.reason == 7);
        CHECK(e.source_id == p.a.id);
        CHECK(e.destination_id == p.b.id);
        CHECK(e.netns == p.a.cookie);
        CHECK(e.error == ECONNREFUSED);
        CHECK(address_of(e.source) == at(p.a, way, 0).ip);
        CHECK(address_of(e.asked) == at(p.b, way, 0).ip);
        CHECK(e.asked_port == 81);
        CHECK(p.dial_b(way, 82).error == 0);
        const auto t = accept_from(p.tunnel_a.outbound.get());
        REQUIRE(t.has_value());
        CHECK(original_destination(t->fd.get()) == at(p.b, way, 82));
    }
    CHECK(p.lab.stat(WR_STAT_CONNECT_DENIED) == 3);
    CHECK(p.lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 0);
}

TEST_CASE("bpf: with the path switched off, for the node or for a pod, everything takes the tunnel") {
    Pair p;
    p.lab.config.flags &= ~static_cast<uint32_t>(WR_CONFIG_DIRECT);
    p.lab.configure();
    CHECK(p.dial_b(kWays[0]).error == 0);
    CHECK(accept_from(p.tunnel_a.outbound.get()).has_value());
    p.lab.config.flags |= WR_CONFIG_DIRECT;
    p.lab.configure();
    p.lab.enrol(p.a, kEnrolled & ~static_cast<uint32_t>(WR_POD_DIRECT));
    CHECK(p.dial_b(kWays[0]).error == 0);
    CHECK(accept_from(p.tunnel_a.outbound.get()).has_value());
    CHECK(p.lab.stat(WR_STAT_CONNECT_DIRECT) == 0);
}

TEST_CASE("bpf: a neighbour's tunnel ports are never reached directly") {
    Pair p;
    for (const Way& way : kWays)
        for (const uint16_t port : {kOutbound, kPlaintext, kHbone, kDns}) {
            CHECK(p.dial_b(way, port).error == 0);
            const auto t = accept_from(p.tunnel_a.outbound.get());
            REQUIRE(t.has_value());
            CHECK(original_destination(t->fd.get()) == at(p.b, way, port));
        }
    CHECK(p.lab.stat(WR_STAT_CONNECT_DIRECT) == 0);
}

TEST_CASE("bpf: who was not announced reaches the tunnel, and an announcement serves one connection") {
    Pair p;
    Pod& outsider = p.lab.pod(0);
    const Dialled c = p.dial_b(kWays[0]);
    CHECK(c.error == 0);
    REQUIRE(accept_from(p.app.get()).has_value());
    CHECK(dial(p.lab, p.lab.app, p.lab.node, at(p.b, kWays[0], 80)).error == 0);
    CHECK(accept_from(p.tunnel_b.plaintext.get()).has_value());
    CHECK(dial(p.lab, p.lab.app, outsider.netns, at(p.b, kWays[0], 80)).error == 0);
    CHECK(accept_from(p.tunnel_b.plaintext.get()).has_value());
    // The tunnel itself is no pod: what it dials from a's namespace is not announced.
    CHECK(dial(p.lab, p.lab.tunnel, p.a.netns, at(p.b, kWays[0], 80)).error == 0);
    CHECK(accept_from(p.tunnel_b.plaintext.get()).has_value());
    CHECK_FALSE(accept_from(p.app.get(), 20).has_value());
}

TEST_CASE("bpf: a connection nobody accepts takes its announcement along, and a full backlog keeps it") {
    Pair p;
    CHECK(p.dial_b(kWays[0], 4444).error == ECONNREFUSED);
    CHECK(p.lab.rows("wr_announced") == 0);
    CHECK(p.lab.stat(WR_STAT_ANNOUNCED_EXPIRED) == 1);
    const auto small = listen_at(p.lab, p.lab.app, p.b.netns, wildcard(90), AF_INET6, 0);
    std::vector<Fd> waiting;
    for (int i = 0; i < 3; ++i) {
        waiting.push_back(make_socket(p.lab, p.lab.app, p.a.netns, AF_INET));
        CHECK(start_connect(p.lab, p.lab.app, p.a.netns, waiting.back().get(), AF_INET, at(p.b, kWays[0], 90)) == EINPROGRESS);
    }
    // The later ones by a repeated SYN, or by the data that carries the acknowledgement again.
    int accepted = 0;
    CHECK(wait_until(
        [&] {
            for (const Fd& fd : waiting) (void)::send(fd.get(), "x", 1, MSG_NOSIGNAL);
            if (accept_from(small.get(), 0)) ++accepted;
            return accepted == 3;
        },
        10000));
    CHECK(p.lab.stat(WR_STAT_INBOUND_PLAINTEXT) == 0);
    CHECK(wait_until([&] { return p.lab.rows("wr_announced") == 0; }));
}

TEST_CASE("bpf: SYN cookies find the announcement again") {
    Pair p;
    shell_in(p.b.netns, "sysctl -qw net.ipv4.tcp_syncookies=2");
    for (const Way& way : kWays) {
        INFO(way.name);
        CHECK(p.dial_b(way).error == 0);
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
    }
    CHECK(p.lab.rows("wr_announced") == 0);
}

TEST_CASE("bpf: the kubelet's probe reaches the application, another process of the node does not") {
    Pair p;
    for (const Way& way : kWays) {
        INFO(way.name);
        CHECK(dial(p.lab, p.lab.kubelet, p.lab.node, at(p.b, way, 80), {way.family, 0, {}}).error == 0);
        CHECK(accept_from(p.app.get()).has_value());
        CHECK(dial(p.lab, p.lab.app, p.lab.node, at(p.b, way, 80), {way.family, 0, {}}).error == 0);
        CHECK(accept_from(p.tunnel_b.plaintext.get()).has_value());
        // In a pod's namespace the kubelet's cgroup means nothing.
        CHECK(dial(p.lab, p.lab.kubelet, p.a.netns, stranger(way), {way.family, 0, {}}).error == 0);
        CHECK(accept_from(p.tunnel_a.outbound.get()).has_value());
    }
    CHECK(p.lab.stat(WR_STAT_CONNECT_PROBE) == 3);
    CHECK(p.lab.rows("wr_announced") == 0);
}

TEST_CASE("bpf: a service address is drawn once: direct, refused, or to the tunnel with the draw") {
    Pair p;
    const SockAddr vip = *SockAddr::parse("10.96.0.7:80"), vip6 = *SockAddr::parse("[fd96::7]:80");
    for (const Way& way : kWays) {
        INFO(way.name);
        const SockAddr service = way.v6 ? vip6 : vip;
        const IpAddr b = at(p.b, way, 0).ip, far = stranger(way).ip;
        const auto connect = [&] { return dial(p.lab, p.lab.app, p.a.netns, service, {way.family, 0, {}}); };
        // Its port is the endpoint's.
        p.lab.service(service, 100, WR_SERVICE_UNIFORM | WR_SERVICE_ALL_LOCAL, {endpoint(b, 80)});
        Dialled c = connect();
        CHECK(c.error == 0);
        REQUIRE(accept_from(p.app.get()).has_value());
        CHECK(peer_name(c.fd.get()) == service);
        CHECK(local_name(c.fd.get()).ip == at(p.a, way, 0).ip);
        // Denied.
        p.lab.verdict(p.a, p.b, 81, WR_VERDICT_DENY, 5, 1);
        p.lab.service(service, 101, WR_SERVICE_UNIFORM | WR_SERVICE_ALL_LOCAL, {endpoint(b, 81)});
        CHECK(connect().error == ECONNREFUSED);
        // Remote: the tunnel is told, if it is ours.
        for (const uint32_t hint : {uint32_t{WR_SERVICE_HINT}, uint32_t{0}}) {
            p.lab.service(service, 102, WR_SERVICE_UNIFORM | hint, {endpoint(far, 8081)});
            CHECK(connect().error == 0);
            const auto t = accept_from(p.tunnel_a.outbound.get());
            REQUIRE(t.has_value());
            CHECK(original_destination(t->fd.get()) == service);
            const auto said = drawn(t->fd.get());
            REQUIRE(said.has_value() == (hint != 0));
            if (!said) continue;
            CHECK(address_of(said->address) == far);
            CHECK(said->port == 8081);
            CHECK(said->service == 102);
        }
        // Behind a stock tunnel a local endpoint is not taken where others are remote; nor with a waypoint, nor without endpoints.
        for (const uint32_t flags : {uint32_t{0}, uint32_t{WR_SERVICE_HINT | WR_SERVICE_TUNNEL}}) {
            p.lab.service(service, 103, WR_SERVICE_UNIFORM | flags, {endpoint(b, 80)});
            CHECK(connect().error == 0);
            CHECK(accept_from(p.tunnel_a.outbound.get()).has_value());
        }
        p.lab.service(service, 104, WR_SERVICE_UNIFORM | WR_SERVICE_ALL_LOCAL, {});
        CHECK(connect().error == 0);
        CHECK(accept_from(p.tunnel_a.outbound.get()).has_value());
        // The pod itself as the endpoint.
        p.lab.verdict(p.a, p.a, 0, WR_VERDICT_ALLOW);
        const auto own = listen_at(p.lab, p.lab.app, p.a.netns, wildcard(85), AF_INET6);
        p.lab.service(service, 105, WR_SERVICE_UNIFORM | WR_SERVICE_ALL_LOCAL, {endpoint(at(p.a, way, 0).ip, 85)});
        c = connect();
        CHECK(c.error == 0);
        REQUIRE(accept_from(own.get()).has_value());
        CHECK(peer_name(c.fd.get()) == service);
    }
    CHECK(p.lab.rows("wr_announced") == 0);
    CHECK(p.lab.rows("wr_handover") == 0);
}

TEST_CASE("bpf: endpoints are drawn with the weights of the table") {
    // Refused in the draw's place of the connection: each endpoint's verdict denies with its own policy, so one record tells the draw.
    LabOptions options;
    options.ring_bytes = 4u << 20;
    Lab lab(options);
    Pod& a = lab.pod();
    const SockAddr vip = *SockAddr::parse("10.96.0.7:80");
    const auto draw = [&](const std::vector<wr_endpoint_row>& table, uint32_t flags, const std::vector<double>& share) {
        lab.service(vip, 200 + flags, flags | WR_SERVICE_ALL_LOCAL, table);
        constexpr int kDraws = 8000;
        std::vector<double> seen(share.size());
        const Fd fd = make_socket(lab, lab.app, a.netns, AF_INET);
        lab.in(lab.app, a.netns, [&] {
            sockaddr_storage s{};
            const socklen_t n = vip.to_sockaddr(s, AF_INET);
            for (int i = 0; i < kDraws; ++i) CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) != 0);
            return 0;
        });
        for (const wr_flow_event& e : lab.events()) seen.at(e.policy) += 1;
        double chi = 0, total = 0;
        for (size_t i = 0; i < share.size(); ++i) {
            const double expected = share[i] * kDraws;
            chi += (seen[i] - expected) * (seen[i] - expected) / expected;
            total += seen[i];
        }
        CHECK(total == kDraws);
        INFO("chi-square " << chi);
        CHECK(chi < 27.9);  // p = 0.001 of nine degrees of freedom; fewer below
    };
    std::vector<wr_endpoint_row> table;
    for (uint16_t i = 0; i < 10; ++i) {
        lab.verdict(a, a, static_cast<uint16_t>(1000 + i), WR_VERDICT_DENY, i);
        table.push_back(endpoint(a.v4, static_cast<uint16_t>(1000 + i)));
    }
    draw(table, WR_SERVICE_UNIFORM, std::vector<double>(10, 0.1));
    // Weights 1, 2, 5 by Vose: cells (1 stays 3/8 else 5), (2 stays 3/4 else 5), (5 always).
    const auto part = [](double p) { return static_cast<uint32_t>(p * 4294967295.0); };
    draw({endpoint(a.v4, 1000, part(3.0 / 8), 2), endpoint(a.v4, 1001, part(3.0 / 4), 2), endpoint(a.v4, 1002, 0xffffffff, 2)}, 0,
         {1.0 / 8, 2.0 / 8, 5.0 / 8});
}

TEST_CASE("bpf: local connections leave a pacing default unless the application chose") {
    Pair p;
    if (congestion_of(make_socket(p.lab, p.lab.app, p.a.netns, AF_INET).get()) == "cubic") {
        for (const auto* netns : {&p.a.netns, &p.b.netns}) shell_in(*netns, "sysctl -qw net.ipv4.tcp_congestion_control=reno");
    }
    const std::string plain = congestion_of(make_socket(p.lab, p.lab.app, p.a.netns, AF_INET).get());
    REQUIRE(plain != "cubic");
    Dialled c = p.dial_b(kWays[0]);
    CHECK(congestion_of(c.fd.get()) == plain);
    REQUIRE(accept_from(p.app.get()).has_value());
    p.lab.config.flags |= WR_CONFIG_CUBIC;
    p.lab.configure();
    for (const Way& way : kWays) {
        INFO(way.name);
        c = p.dial_b(way);
        CHECK(congestion_of(c.fd.get()) == "cubic");
        const auto s = accept_from(p.app.get());
        REQUIRE(s.has_value());
        CHECK(congestion_of(s->fd.get()) == "cubic");
        c = dial(p.lab, p.lab.app, p.a.netns, stranger(way), {way.family, 0, {}});
        CHECK(congestion_of(c.fd.get()) == "cubic");
        const auto t = accept_from(p.tunnel_a.outbound.get());
        REQUIRE(t.has_value());
        CHECK(congestion_of(t->fd.get()) == "cubic");
        c = dial(p.lab, p.lab.app, p.a.netns, at(p.b, way, 80),
                 {way.family, 0, [](int fd) { ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); }});
        CHECK(congestion_of(c.fd.get()) == "reno");
        REQUIRE(accept_from(p.app.get()).has_value());
    }
}

TEST_CASE("bpf: judging again ends the connections that are no longer allowed, and no other (trap 28)") {
    Pair p;
    Pod& other = p.lab.pod();
    const auto elsewhere = listen_at(p.lab, p.lab.app, other.netns, wildcard(80), AF_INET6);
    p.lab.verdict(p.a, other, 0, WR_VERDICT_ALLOW);
    const bool in_kernel = kernel_is_from(6, 5);  // before, the records tell user space what to end
    std::vector<Dialled> bad, good;
    std::vector<Fd> keep;
    for (const Way& way : kWays)
        for (int i = 0; i < 5; ++i) {
            bad.push_back(p.dial_b(way));
            keep.push_back(taken(p.app.get()));
            good.push_back(dial(p.lab, p.lab.app, p.a.netns, at(other, way, 80), {way.family, 0, {}}));
            keep.push_back(taken(elsewhere.get()));
            good.push_back(dial(p.lab, p.lab.app, p.a.netns, stranger(way), {way.family, 0, {}}));
            keep.push_back(taken(p.tunnel_a.outbound.get()));
        }
    const auto udp = make_socket(p.lab, p.lab.app, p.a.netns, AF_INET, SOCK_DGRAM);
    CHECK(start_connect(p.lab, p.lab.app, p.a.netns, udp.get(), AF_INET, at(p.b, kWays[0], 80)) == 0);
    CHECK(p.lab.iterate("wr_iter_judge", p.a).empty());
    p.lab.verdict(p.a, p.b, 0, WR_VERDICT_DENY, 9);
    CHECK(p.lab.iterate("wr_iter_list", p.a).size() == bad.size());
    CHECK(p.lab.iterate("wr_iter_judge", p.b).empty());
    const auto ended = p.lab.iterate("wr_iter_judge", p.a);
    CHECK(ended.size() == bad.size());
    for (const wr_flow_event& e : ended) {
        CHECK(e.kind == WR_EVENT_JUDGED);
        CHECK(e.error == (in_kernel ? ECONNABORTED : 0));
        CHECK(e.destination_id == p.b.id);
        CHECK(e.chosen_port == 80);
        CHECK(e.source_port != 0);
    }
    for (Dialled& c : bad) CHECK((::send(c.fd.get(), "x", 1, MSG_NOSIGNAL) < 0) == in_kernel);
    for (Dialled& c : good) CHECK(::send(c.fd.get(), "x", 1, MSG_NOSIGNAL) == 1);
    CHECK(p.lab.stat(WR_STAT_DESTROYED) == (in_kernel ? bad.size() : 0));
    // A pod whose namespace or id is no longer what it was.
    p.lab.leave(other);
    CHECK(p.lab.iterate("wr_iter_judge", p.a).size() == (in_kernel ? 15u : 30u));
}

TEST_CASE("bpf: a verdict that changes between connect and SYN stops the connection") {
    // Fast open without a cookie puts the SYN off to the first write, which holds the window open.
    Pair p;
    shell_in(p.a.netns, "sysctl -qw net.ipv4.tcp_fastopen=5");
    for (const Way& way : kWays) {
        INFO(way.name);
        p.lab.verdict(p.a, p.b, 0, WR_VERDICT_ALLOW);
        const Fd fd = make_socket(p.lab, p.lab.app, p.a.netns, way.family);
        const int on = 1;
        REQUIRE(::setsockopt(fd.get(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on) == 0);
        CHECK(start_connect(p.lab, p.lab.app, p.a.netns, fd.get(), way.family, at(p.b, way, 80)) == 0);
        CHECK(p.lab.stat(WR_STAT_ANNOUNCED) == 0);
        p.lab.verdict(p.a, p.b, 0, WR_VERDICT_DENY);
        (void)::send(fd.get(), "x", 1, MSG_NOSIGNAL);
        CHECK_FALSE(accept_from(p.app.get(), 50).has_value());
        CHECK_FALSE(accept_from(p.tunnel_b.plaintext.get(), 0).has_value());
    }
    CHECK(p.lab.stat(WR_STAT_CONNECT_DENIED) == 3);
    CHECK(p.lab.rows("wr_announced") == 0);
}

TEST_CASE("bpf: an opening and an end are recorded with the bytes that the application moved (trap 21, small)") {
    Pair p;
    for (const Way& way : kWays)
        for (const bool client_first : {true, false})
            for (const bool reset : {false, true}) {
                INFO(way.name << " client closes first " << client_first << " reset " << reset);
                (void)p.lab.events();
                Dialled c = p.dial_b(way);
                auto s = accept_from(p.app.get());
                REQUIRE(s.has_value());
                const uint16_t port = local_name(c.fd.get()).port;
                const std::string up(300000, 'u'), down(70001, 'd');
                std::thread reader([&] { CHECK(receive(s->fd.get(), up.size()).size() == up.size()); });
                send_all(c.fd.get(), up);
                reader.join();
                send_all(s->fd.get(), down);
                CHECK(receive(c.fd.get(), down.size()).size() == down.size());
                if (reset) {
                    const linger now{1, 0};
                    ::setsockopt((client_first ? c.fd : s->fd).get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
                }
                if (client_first) {
                    c.fd.reset();
                    if (!reset) CHECK(receive(s->fd.get(), 1).empty());
                    s->fd.reset();
                } else {
                    s->fd.reset();
                    CHECK(receive(c.fd.get(), 1).empty());
                    c.fd.reset();
                }
                std::vector<wr_flow_event> all;
                CHECK(wait_until([&] {
                    for (const auto& e : p.lab.events()) all.push_back(e);
                    return all.size() >= 2;
                }));
                REQUIRE(all.size() == 2);
                CHECK(all[0].kind == WR_EVENT_OPEN);
                CHECK(all[0].path == WR_PATH_DIRECT);
                CHECK(all[0].connect_us > 0);
                const wr_flow_event& e = all[1];
                CHECK(e.kind == WR_EVENT_CLOSE);
                CHECK(e.cookie == all[0].cookie);
                CHECK(e.bytes_to_destination == up.size());
                CHECK(e.bytes_to_source == down.size());
                CHECK(e.source_port == port);
                CHECK(address_of(e.source) == at(p.a, way, 0).ip);
                CHECK(address_of(e.chosen) == at(p.b, way, 0).ip);
                CHECK(e.asked_port == 80);
                CHECK(e.verdict == WR_VERDICT_ALLOW);
                CHECK(e.policy == 11);
                CHECK(e.rule == 2);
                CHECK(e.srtt_us > 0);
                CHECK(e.source_id == p.a.id);
                CHECK(e.destination_id == p.b.id);
                if (reset && !client_first) CHECK(e.error == ECONNRESET);
                if (!reset) CHECK(e.error == 0);
            }
    CHECK(p.lab.stat(WR_STAT_EVENTS_LOST) == 0);
}

TEST_CASE("bpf: a sample names what is open, idle ones too; closed ones are gone") {
    Pair p;
    Dialled direct = p.dial_b(kWays[0]), tunnelled = dial(p.lab, p.lab.app, p.a.netns, stranger(kWays[1]), {AF_INET6, 0, {}});
    auto s = accept_from(p.app.get());
    REQUIRE(s.has_value());
    send_all(direct.fd.get(), "12345");
    CHECK(receive(s->fd.get(), 5) == "12345");
    std::vector<wr_flow_event> found;
    CHECK(wait_until([&] {
        found = p.lab.iterate("wr_iter_sample", p.a);
        return found.size() == 2 && found[0].bytes_to_destination + found[1].bytes_to_destination == 5;
    }));
    for (const auto& e : found) {
        CHECK(e.kind == WR_EVENT_SAMPLE);
        CHECK(e.path == (e.asked_port == 80 ? WR_PATH_DIRECT : WR_PATH_TUNNEL));
        CHECK(e.bytes_to_destination == (e.asked_port == 80 ? 5 : 0));
        CHECK(e.cookie != 0);
    }
    close_quietly(direct);
    close_quietly(tunnelled);
    CHECK(p.lab.iterate("wr_iter_sample", p.a).empty());
}

TEST_CASE("bpf: observed pods are recorded and never captured") {
    Lab lab;
    Pod& a = lab.pod(WR_POD_OBSERVED);
    const auto server = listen_at(lab, lab.app, lab.node, wildcard(80), AF_INET6);
    for (const uint32_t flag : {uint32_t{0}, uint32_t{WR_CONFIG_FLOWS_ALL}}) {
        lab.config.flags = WR_CONFIG_REDIRECT | WR_CONFIG_DIRECT | WR_CONFIG_FLOWS | flag;
        lab.configure();
        for (const Way& way : kWays) {
            {
                const Dialled c = dial(lab, lab.app, a.netns, way.v6 ? lab.outside6 : lab.outside, {way.family, 0, {}});
                CHECK(c.error == 0);
                CHECK(peer_name(c.fd.get()) == (way.v6 ? lab.outside6 : lab.outside));
            }
            const auto s = accept_from(server.get());
            REQUIRE(s.has_value());
        }
        std::vector<wr_flow_event> all;
        CHECK(wait_until([&] {
            for (const auto& e : lab.events()) all.push_back(e);
            return all.size() >= (flag != 0 ? 6u : 0u);
        }));
        CHECK(all.size() == (flag != 0 ? 6u : 0u));
        for (const auto& e : all) CHECK(e.path == WR_PATH_NONE);
    }
}
