// SPDX-License-Identifier: Apache-2.0
// Original destinations under very many connects at once from pods that all use the same source ports. WARREN_BPF_CONNECTS sets how many;
// the figure is 100,000 from 50 pods.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <netinet/in.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

constexpr uint32_t kPods = 50, kFirstPort = 10000;

uint32_t connects() {
    const char* text = std::getenv("WARREN_BPF_CONNECTS");
    return text != nullptr ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : 10000;
}

// The destination says which pod and which connection it is.
SockAddr destination(uint32_t pod, uint32_t i) { return {IpAddr::v4(0xc8000000 | pod << 16 | i), static_cast<uint16_t>(2000 + i % 40000)}; }

struct Tally {
    uint32_t begun = 0, right = 0, wrong = 0;
};

// One pod's application and tunnel in a process of their own: no process may open files for all of them. Says on `out` when every connect
// has begun, waits for `go`, accepts, says the result.
[[noreturn]] void one_pod(const Pod& pod, uint32_t p, uint32_t each, int listener, int out, int go) {
    Tally tally;
    std::vector<Fd> keep;
    for (uint32_t i = 0; i < each; ++i) {
        keep.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_storage s{};
        socklen_t n = SockAddr{IpAddr::v4(0), static_cast<uint16_t>(kFirstPort + i)}.to_sockaddr(s, AF_INET);
        if (::bind(keep.back().get(), reinterpret_cast<const sockaddr*>(&s), n) != 0) continue;
        n = destination(p, i).to_sockaddr(s, AF_INET);
        if (::connect(keep.back().get(), reinterpret_cast<const sockaddr*>(&s), n) == 0 || errno == EINPROGRESS) ++tally.begun;
    }
    char byte = 0;
    (void)!::write(out, &tally, sizeof tally);
    (void)!::read(go, &byte, 1);
    ::listen(listener, 65535);
    for (uint32_t i = 0; i < each; ++i) {
        auto t = accept_from(listener, 20000);
        if (!t) break;
        const auto said = original_destination(t->fd.get());
        ++(said && *said == destination(p, t->peer.port - kFirstPort) && t->peer.ip == pod.v4 ? tally.right : tally.wrong);
        keep.push_back(std::move(t->fd));
    }
    (void)!::write(out, &tally, sizeof tally);
    (void)!::read(go, &byte, 1);
    ::_exit(0);
}

struct Child {
    pid_t pid;
    warren::base::FdPair out, go;
    Fd listener;
};

}  // namespace

TEST_CASE("bpf: no connection of very many gets another's destination (trap 14)") {
    const uint32_t each = connects() / kPods;
    Lab lab;
    std::vector<Pod*> pods;
    std::vector<Child> children;
    for (uint32_t p = 0; p < kPods; ++p) {
        pods.push_back(&lab.pod());
        std::thread([&] {
            (void)warren::base::in_netns(pods.back()->netns, []() -> warren::base::Result<void> {
                (void)!::system("sysctl -qw net.core.somaxconn=65535");
                return {};
            });
        }).join();
        // A backlog of none: SYNs are repeated until the second listen(), so all hand-over rows are in the map at the same time.
        children.push_back({0, *warren::base::make_pipe(), *warren::base::make_pipe(),
                            listen_at(lab, lab.tunnel, pods.back()->netns, {IpAddr::v4(0), kOutbound}, AF_INET, 0)});
    }
    for (uint32_t p = 0; p < kPods; ++p) {
        Child& c = children[p];
        c.pid = lab.in(lab.app, pods[p]->netns, [&] {
            const pid_t pid = ::fork();
            if (pid == 0) one_pod(*pods[p], p, each, c.listener.get(), c.out.second.get(), c.go.first.get());
            return pid;
        });
        REQUIRE(c.pid > 0);
    }
    Tally sum;
    const auto collect = [&] {
        sum = {};
        for (const Child& c : children) {
            Tally t;
            REQUIRE(::read(c.out.first.get(), &t, sizeof t) == sizeof t);
            sum.begun += t.begun;
            sum.right += t.right;
            sum.wrong += t.wrong;
        }
        for (const Child& c : children) REQUIRE(::write(c.go.second.get(), "g", 1) == 1);
    };
    // Counted before anybody may accept: read the begun ones, look, let go.
    for (const Child& c : children) {
        pollfd p{c.out.first.get(), POLLIN, 0};
        REQUIRE(::poll(&p, 1, 60000) == 1);
    }
    const size_t in_flight = lab.rows("wr_handover");
    collect();
    CHECK(sum.begun == each * kPods);
    CHECK(in_flight > each * kPods * 9 / 10);
    collect();
    for (const Child& c : children) ::waitpid(c.pid, nullptr, 0);
    std::fprintf(stderr, "%zu in flight at once, %u right, %u wrong\n", in_flight, sum.right, sum.wrong);
    CHECK(sum.wrong == 0);
    CHECK(sum.right == each * kPods);
    CHECK(lab.stat(WR_STAT_HANDOVER_FULL) == 0);
    CHECK(lab.rows("wr_handover") == 0);
}
