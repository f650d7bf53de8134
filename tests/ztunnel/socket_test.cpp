// SPDX-License-Identifier: Apache-2.0
// What the kernel says of the sockets that are made for pods (data-plane contract 8.4, 11.3).
#include "ztunnel/socket.h"

#include "tests/catch.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <climits>

using namespace warren;
using namespace warren::ztunnel;

namespace {

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    CHECK(::getsockopt(fd, level, name, &value, &size) == 0);
    return value;
}

}  // namespace

TEST_CASE("socket: test_keep_alive_options: keepalive, user timeout and no delay are really set") {
    SocketOptions options;
    options.keepalive.time = std::chrono::seconds(77);
    options.keepalive.interval = std::chrono::seconds(11);
    options.keepalive.retries = 5;
    const base::Fd standard = *make_tcp(AF_INET, options);
    CHECK(option(standard.get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(standard.get(), IPPROTO_TCP, TCP_KEEPIDLE) == 77);
    CHECK(option(standard.get(), IPPROTO_TCP, TCP_KEEPINTVL) == 11);
    CHECK(option(standard.get(), IPPROTO_TCP, TCP_KEEPCNT) == 5);
    CHECK(option(standard.get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
    CHECK(option(standard.get(), IPPROTO_TCP, TCP_NODELAY) == 1);

    options.keepalive.user_timeout = true;
    CHECK(option(make_tcp(AF_INET6, options)->get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == (77 + 5 * 11) * 1000);
    // More than the kernel can hold is as long as it can.
    options.keepalive.interval = std::chrono::seconds(32'767);
    options.keepalive.retries = 127;
    CHECK(option(make_tcp(AF_INET6, options)->get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == INT_MAX);

    options.keepalive.enabled = false;
    CHECK(option(make_tcp(AF_INET, options)->get(), SOL_SOCKET, SO_KEEPALIVE) == 0);
}

TEST_CASE("socket: test_inpod_config_port_reuse and test_inpod_config_no_port_reuse") {
    SocketOptions options;
    ListenAt at{base::SockAddr{base::IpAddr::v4(0x7f000001), 0}};
    for (const bool reuse : {true, false}) {
        options.reuse_port = reuse;
        const base::Fd first = *listen_tcp(at, options);
        ListenAt same = at;
        same.address = local_address(first.get());
        CHECK(option(first.get(), SOL_SOCKET, SO_REUSEPORT) == (reuse ? 1 : 0));
        CHECK(static_cast<bool>(listen_tcp(same, options)) == reuse);
    }
}
