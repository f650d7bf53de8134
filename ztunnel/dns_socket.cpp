// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/dns_socket.h"

#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace warren::ztunnel {

namespace {

base::Result<base::Fd> make_udp(int family, const SocketOptions& options) {
    base::Fd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return base::os_error("socket");
    if (options.mark != 0 && ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &options.mark, sizeof options.mark) != 0)
        return base::os_error("setsockopt SO_MARK");
    return fd;
}

}  // namespace

base::Result<base::Fd> bind_udp(const base::SockAddr& address, const SocketOptions& options) {
    base::Fd fd = TRY(make_udp(address.family(), options));
    const int on = 1;
    if (options.reuse_port && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return base::os_error("setsockopt SO_REUSEPORT");
    sockaddr_storage raw{};
    const socklen_t size = address.to_sockaddr(raw, address.family());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&raw), size) != 0) return base::os_error("bind", address.to_string());
    return fd;
}

base::Result<base::Fd> connect_udp(const base::SockAddr& to, const SocketOptions& options) {
    base::Fd fd = TRY(make_udp(to.family(), options));
    TRY(begin_connect(fd.get(), to));
    return fd;
}

bool loopback_has_ipv6() {
    const base::Fd fd(::open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", O_RDONLY | O_CLOEXEC));
    char value = '0';
    return !fd.valid() || ::read(fd.get(), &value, 1) != 1 || value != '1';
}

base::Result<std::optional<Datagram>> receive(int fd, std::span<uint8_t> space) {
    sockaddr_storage from{};
    iovec part{space.data(), space.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    for (;;) {
        const ssize_t n = ::recvmsg(fd, &message, 0);
        if (n < 0) {
            const int os = errno;
            if (os == EINTR) continue;
            if (os == EAGAIN || os == EWOULDBLOCK) return std::optional<Datagram>();
            return base::os_error_of(os, "recvmsg");
        }
        Datagram d;
        d.bytes = static_cast<size_t>(n);
        d.cut = (message.msg_flags & MSG_TRUNC) != 0;
        if (message.msg_namelen != 0)
            d.from =
                base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&from), message.msg_namelen).value_or(base::SockAddr{});
        return std::optional<Datagram>(d);
    }
}

bool send_to(int fd, std::span<const uint8_t> message, const base::SockAddr& to, int family) {
    sockaddr_storage raw{};
    const socklen_t size = to.to_sockaddr(raw, family);
    return size != 0 && ::sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&raw), size) >= 0;
}

}  // namespace warren::ztunnel
