// SPDX-License-Identifier: Apache-2.0
// Original destinations under very many connects at once from pods that all use the same source ports. WARREN_BPF_CONNECTS sets how many;
// the figure is 100,000 from 50 pods.
#include "tests/bpf/sockets.h"
#include "tests/bpf/ways.h"
#include "tests/catch.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstdlib>

#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace warren::tests::bpf;
using warren::base::Fd;
using warren::base::IpAddr;
using warren::base::SockAddr;

namespace {

constexpr uint32_t kPods = 50;

uint32_t connects() {
    const char* text = std::getenv("WARREN_BPF_CONNECTS");
    return text != nullptr ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : 10000;
}

// The destination says which pod and which connection it is.
SockAddr destination(uint32_t pod, uint32_t i) {
    return {IpAddr::v4(0xc8000000 | pod << 16 | i), static_cast<uint16_t>(2000 + i % 40000)};
}

}  // namespace

TEST_CASE("bpf: no connection of very many gets another's destination (trap 14)") {
    const uint32_t each = connects() / kPods;
    rlimit files{2 * each * kPods + 4096, 2 * each * kPods + 4096};
    if (::setrlimit(RLIMIT_NOFILE, &files) != 0) warren::tests::skip("cannot open enough files");
    Lab lab;
    std::vector<Pod*> pods;
    std::vector<Fd> listeners;
    for (uint32_t p = 0; p < kPods; ++p) {
        pods.push_back(&lab.pod());
        ip_batch(pods.back()->netns, "link set lo up\n");
        std::thread([&] {
            (void)warren::base::in_netns(pods.back()->netns, []() -> warren::base::Result<void> {
                (void)!::system("sysctl -qw net.core.somaxconn=65535");
                return {};
            });
        }).join();
        listeners.push_back(listen_at(lab, lab.tunnel, pods.back()->netns, wildcard(kOutbound), AF_INET, 65535));
    }
    std::vector<Fd> clients(each * kPods);
    uint32_t failed = 0;
    // Round by round, so that the same source port is in flight in every pod at once; nothing is accepted before all have begun.
    for (uint32_t p = 0; p < kPods; ++p) {
        lab.in(lab.app, pods[p]->netns, [&] {
            for (uint32_t i = 0; i < each; ++i) {
                Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
                sockaddr_storage s{};
                socklen_t n = SockAddr{IpAddr::v4(0), static_cast<uint16_t>(10000 + i)}.to_sockaddr(s, AF_INET);
                if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) != 0) ++failed;
                n = destination(p, i).to_sockaddr(s, AF_INET);
                if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) != 0 && errno != EINPROGRESS) ++failed;
                clients[p * each + i] = std::move(fd);
            }
            return 0;
        });
    }
    CHECK(failed == 0);
    uint32_t right = 0, wrong = 0;
    for (uint32_t p = 0; p < kPods; ++p)
        for (uint32_t i = 0; i < each; ++i) {
            auto t = accept_from(listeners[p].get());
            if (!t) break;
            const auto said = original_destination(t->fd.get());
            ++(said && *said == destination(p, t->peer.port - 10000u) && t->peer.ip == pods[p]->v4 ? right : wrong);
            clients.push_back(std::move(t->fd));
        }
    CHECK(wrong == 0);
    CHECK(right == each * kPods);
    CHECK(lab.stat(WR_STAT_HANDOVER_FULL) == 0);
    CHECK(lab.rows("wr_handover") == 0);
}
