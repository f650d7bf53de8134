// SPDX-License-Identifier: Apache-2.0
// UDP sockets of the DNS proxy with the options of data-plane contract 8.4: non-blocking, close-on-exec, marked. Made in the network
// namespace the calling thread is in. Any thread.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"
#include "ztunnel/socket.h"

#include <optional>
#include <span>

namespace warren::ztunnel {

// Where a pod's sockets are made; netns null: the process's own. Borrowed by whoever holds it.
struct SocketPlace {
    const base::Netns* netns = nullptr;
    const base::Netns* home = nullptr;
    // make() returns a Result; it runs inside the namespace.
    template <class Make>
    auto make(Make&& call) const -> decltype(call()) {
        return netns != nullptr ? base::in_netns(*netns, *home, std::forward<Make>(call)) : call();
    }
};

[[nodiscard]] base::Result<base::Fd> bind_udp(const base::SockAddr& address, const SocketOptions& options);
// Connected, so that the kernel drops what comes from elsewhere and reports refusals; from a random source port.
[[nodiscard]] base::Result<base::Fd> connect_udp(const base::SockAddr& to, const SocketOptions& options);

// Whether this namespace's loopback has IPv6: /proc/sys/net/ipv6/conf/lo/disable_ipv6 is not 1 (contract 8.6; unreadable: assume so).
[[nodiscard]] bool loopback_has_ipv6();

struct Datagram {
    size_t bytes = 0;
    bool cut = false;  // it was larger than the space
    base::SockAddr from;
};
// None: nothing waits. Errors are those of the socket, for example what ICMP reported.
[[nodiscard]] base::Result<std::optional<Datagram>> receive(int fd, std::span<uint8_t> space);
// False: not sent; UDP has no promise to keep.
bool send_to(int fd, std::span<const uint8_t> message, const base::SockAddr& to, int family);

}  // namespace warren::ztunnel
