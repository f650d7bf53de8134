// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/socket.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace warren::ztunnel {

namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; their headers do not compile beside netinet/in.h.
constexpr int kOriginalDst = 80, kIp6OriginalDst = 80;

base::Result<void> set(int fd, int level, int name, int value, const char* what) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0) return base::os_error(what);
    return {};
}

base::Result<void> set_mark(int fd, const SocketOptions& options) {
    if (options.mark == 0) return {};
    return set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(options.mark), "setsockopt SO_MARK");
}

void set_keepalive(int fd, const KeepAlive& k) {
    if (!k.enabled) return;
    // Best effort: a kernel that refuses one of them still carries the connection.
    (void)set(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
    (void)set(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(k.time.count()), "TCP_KEEPIDLE");
    (void)set(fd, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(k.interval.count()), "TCP_KEEPINTVL");
    (void)set(fd, IPPROTO_TCP, TCP_KEEPCNT, k.retries, "TCP_KEEPCNT");
    if (!k.user_timeout) return;
    const std::chrono::milliseconds limit =
        std::min<std::chrono::milliseconds>(k.time + k.interval * k.retries, std::chrono::milliseconds(INT_MAX));
    (void)set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(limit.count()), "TCP_USER_TIMEOUT");
}

base::Result<void> set_transparent(int fd, int family) {
    if (family == AF_INET6) {
        TRY(set(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, "setsockopt IPV6_TRANSPARENT"));
        return set(fd, SOL_IPV6, IPV6_FREEBIND, 1, "setsockopt IPV6_FREEBIND");
    }
    TRY(set(fd, SOL_IP, IP_TRANSPARENT, 1, "setsockopt IP_TRANSPARENT"));
    return set(fd, SOL_IP, IP_FREEBIND, 1, "setsockopt IP_FREEBIND");
}

}  // namespace

base::Result<base::Fd> listen_tcp(const ListenAt& at, const SocketOptions& options) {
    const int family = at.address.family();
    base::Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return base::os_error("socket", at.address.to_string());
    TRY(set_mark(fd.get(), options));
    TRY(set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "setsockopt SO_REUSEADDR"));
    if (options.reuse_port) TRY(set(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "setsockopt SO_REUSEPORT"));
    if (family == AF_INET6) TRY(set(fd.get(), SOL_IPV6, IPV6_V6ONLY, 0, "setsockopt IPV6_V6ONLY"));
    if (at.transparent != ListenAt::Transparent::No) {
        // Only the IPv4-level option, also on an IPv6 socket (contract 8.4): it is what both families' transparent lookups test.
        auto done = set(fd.get(), SOL_IP, IP_TRANSPARENT, 1, "setsockopt IP_TRANSPARENT");
        if (!done && at.transparent == ListenAt::Transparent::Require) return std::move(done).error();
    }
    (void)set(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    if (at.keepalive) set_keepalive(fd.get(), options.keepalive);
    if (at.local) set_local_congestion(fd.get(), options);
    sockaddr_storage address{};
    const socklen_t size = at.address.to_sockaddr(address, family);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return base::os_error("bind", at.address.to_string());
    if (::listen(fd.get(), at.backlog) != 0) return base::os_error("listen", at.address.to_string());
    return fd;
}

base::Result<base::Fd> make_tcp(int family, const SocketOptions& options) {
    base::Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return base::os_error("socket");
    TRY(set_mark(fd.get(), options));
    (void)set(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    set_keepalive(fd.get(), options.keepalive);
    return fd;
}

base::Result<void> begin_connect(int fd, const base::SockAddr& to) {
    sockaddr_storage address{};
    const socklen_t size = to.to_sockaddr(address, to.family());
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 && errno != EINPROGRESS)
        return base::os_error("connect", to.to_string());
    return {};
}

int connect_result(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

base::Result<void> bind_source(int fd, const base::SockAddr& source) {
    const int family = source.family();
    TRY(set_transparent(fd, family));
    sockaddr_storage address{};
    const socklen_t size = source.to_sockaddr(address, family);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0) return base::os_error("bind", source.to_string());
    return {};
}

base::Result<std::optional<Accepted>> accept_one(int listener) {
    for (;;) {
        sockaddr_storage peer{};
        socklen_t size = sizeof peer;
        const int fd = ::accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            const int os = errno;
            if (os == EAGAIN || os == EWOULDBLOCK) return std::optional<Accepted>();
            // The connection died in the queue, or a signal came: the next one may be fine.
            if (os == ECONNABORTED || os == EINTR || os == EPROTO) continue;
            return base::os_error_of(os, "accept");
        }
        Accepted accepted{base::Fd(fd), {}};
        if (auto from = base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&peer), size)) accepted.peer = *from;
        return std::optional<Accepted>(std::move(accepted));
    }
}

void set_local_congestion(int fd, const SocketOptions& options) {
    if (options.local_congestion == nullptr) return;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options.local_congestion,
                       static_cast<socklen_t>(std::strlen(options.local_congestion)));
}

base::SockAddr local_address(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), size).value_or(base::SockAddr{});
}

base::SockAddr original_destination(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof(sockaddr_in);
    int ok = ::getsockopt(fd, SOL_IP, kOriginalDst, &address, &size);
    if (ok != 0) {
        size = sizeof(sockaddr_in6);
        ok = ::getsockopt(fd, SOL_IPV6, kIp6OriginalDst, &address, &size);
    }
    if (ok == 0)
        if (auto found = base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&address), size)) return *found;
    return local_address(fd);
}

std::optional<base::SockAddr> drawn_endpoint(int fd) {
    constexpr int kDrawnEndpoint = 0x5744;  // bpf/abi.h, which the tunnel does not include: it also runs behind packet rules
    struct {
        uint8_t address[16];
        uint16_t port;
        uint16_t pad;
        uint32_t list;
    } drawn{};
    socklen_t size = sizeof drawn;
    if (::getsockopt(fd, SOL_IP, kDrawnEndpoint, &drawn, &size) != 0 || size != sizeof drawn) return std::nullopt;
    const auto ip = base::IpAddr::from_bytes(drawn.address);
    if (!ip || ip->is_unspecified()) return std::nullopt;
    return base::SockAddr{*ip, drawn.port};
}

void reset_on_close(int fd) {
    const linger now{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

size_t unacknowledged(int fd) {
    int bytes = 0;
    return ::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

size_t unread(int fd) {
    int bytes = 0;
    return ::ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

base::Result<base::Fd> SocketStock::take(int family) {
    auto& ahead = family == AF_INET6 ? v6_ : v4_;
    if (ahead.empty()) {
        auto make = [&]() -> base::Result<void> {
            for (size_t i = 0; i < kAhead; ++i) {
                auto fd = make_tcp(family, options_);
                if (!fd && ahead.empty()) return std::move(fd).error();
                if (!fd) break;
                ahead.push_back(std::move(*fd));
            }
            return {};
        };
        if (where_ != nullptr) {
            TRY(base::in_netns(*where_, *home_, make));
        } else {
            TRY(make());
        }
    }
    base::Fd fd = std::move(ahead.back());
    ahead.pop_back();
    return fd;
}

}  // namespace warren::ztunnel
