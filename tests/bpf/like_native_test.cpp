// SPDX-License-Identifier: Apache-2.0
// An enrolled application's sockets behave as outside the mesh. One table over three connections: of a pod outside the mesh, direct, and
// through the tunnel's listener; the answers must agree (traps 9, 10, 41).
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <linux/tcp.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::SockAddr;

namespace {

bool settled(int fd, int bytes) {
    return wait_until([&] {
        int n = -1;
        return ::ioctl(fd, FIONREAD, &n) == 0 && n == bytes;
    });
}

// What the reading end and the writing end say; one line each, so that a difference names itself.
std::vector<std::string> behaviour(int client, int server) {
    std::vector<std::string> out;
    const auto say = [&](const std::string& what, long value) { out.push_back(what + " " + std::to_string(value)); };
    send_all(client, std::string(1000, 'a'));
    say("FIONREAD", settled(server, 1000));
    int queued = -1;
    say("SIOCOUTQ drains", wait_until([&] { return ::ioctl(client, SIOCOUTQ, &queued) == 0 && queued == 0; }));
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const Fd from(ends[0]), to(ends[1]);
    say("splice in", ::splice(server, nullptr, to.get(), nullptr, 400, 0));
    say("FIONREAD after splice", settled(server, 600));
    say("splice out", ::splice(from.get(), nullptr, server, nullptr, 400, 0));
    say("client has", settled(client, 400));
    char byte = 0;
    say("peek", ::recv(server, &byte, 1, MSG_PEEK));
    CHECK(receive(server, 600).size() == 600);
    say("urgent", ::send(client, "!", 1, MSG_OOB));
    say("urgent arrives apart", wait_until([&] { return ::recv(server, &byte, 1, MSG_OOB) == 1 && byte == '!'; }));
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &size);
    say("acked", static_cast<long>(info.tcpi_bytes_acked));
    say("received", static_cast<long>(info.tcpi_bytes_received));
    say("state", info.tcpi_state);
    // A blocking read woken by its own shutdown's ACK, then by the peer's end.
    const int flags = ::fcntl(client, F_GETFL);
    ::fcntl(client, F_SETFL, flags & ~O_NONBLOCK);
    CHECK(receive(client, 400).size() == 400);
    say("shutdown", ::shutdown(client, SHUT_WR));
    long got = -2;
    int error = 0;
    std::thread reader([&] {
        got = ::recv(client, &byte, 1, 0);
        error = errno;
    });
    CHECK(receive(server, 1).size() <= 1);
    send_all(server, "z");
    reader.join();
    say("blocking read", got);
    std::thread until_reset([&] {
        got = ::recv(client, &byte, 1, 0);
        error = errno;
    });
    const linger now{1, 0};
    ::setsockopt(server, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::shutdown(server, SHUT_RD);
    const int copy = server;
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    ::connect(copy, &none, sizeof none);  // a reset, without closing the descriptor that the test owns
    until_reset.join();
    say("read at reset", got);
    say("errno at reset", error);
    return out;
}

}  // namespace

TEST_CASE("bpf: FIONREAD, splice, SIOCOUTQ, urgent data, tcp_info and blocking reads are the kernel's own (traps 9, 10, 41)") {
    Lab lab;
    Pod &a = lab.pod(), &b = lab.pod(), &x = lab.pod(0), &y = lab.pod(0);
    const Tunnel tunnel_a(lab, a), tunnel_b(lab, b);
    lab.verdict(a, b, 0, WR_VERDICT_ALLOW);
    const Fd app_b = listen_at(lab, lab.app, b.netns, wildcard(80), AF_INET6),
             app_y = listen_at(lab, lab.app, y.netns, wildcard(80), AF_INET6);
    for (const Way& way : kWays) {
        INFO(way.name);
        const auto run = [&](const Pod& from, const SockAddr& to, int listener) {
            const Dialled c = dial(lab, lab.app, from.netns, to, {way.family, 0, {}});
            REQUIRE(c.error == 0);
            const auto s = accept_from(listener);
            REQUIRE(s.has_value());
            return behaviour(c.fd.get(), s->fd.get());
        };
        const auto outside = run(x, at(y, way, 80), app_y.get());
        CHECK(outside == run(a, at(b, way, 80), app_b.get()));
        CHECK(outside == run(a, stranger(way), tunnel_a.outbound.get()));
        CHECK(outside == run(x, at(b, way, 80), tunnel_b.plaintext.get()));
    }
    CHECK(lab.stat(WR_STAT_INBOUND_DIRECT) == 3);
}
