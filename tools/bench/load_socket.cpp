// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/load_socket.h"

#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

constexpr int kConnectMs = 10'000;
constexpr int kBacklog = 4096;                // beyond any burst of the cases; the kernel cuts it to somaxconn
constexpr rlim_t kMostDescriptors = 1 << 20;  // fs.nr_open as the kernel sets it

}  // namespace

void without_delay(int fd) {
    const int one = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int connect_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

base::Result<base::Fd> begin_connect(const base::SockAddr& to) {
    base::Fd fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return base::os_error("socket");
    without_delay(fd.get());
    sockaddr_storage address{};
    const socklen_t length = to.to_sockaddr(address, to.family());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 && errno != EINPROGRESS)
        return base::os_error("connect", to.to_string());
    return fd;
}

base::Result<base::Fd> connect_to(const base::SockAddr& to) {
    base::Fd fd = TRY(begin_connect(to));
    pollfd wait{fd.get(), POLLOUT, 0};
    if (::poll(&wait, 1, kConnectMs) != 1) return base::Error{base::Errc::Timeout, 0, "connect", to.to_string()};
    if (const int error = connect_error(fd.get())) return base::os_error_of(error, "connect", to.to_string());
    return fd;
}

base::Result<base::Fd> listen_on(const base::SockAddr& at) {
    base::Fd fd(::socket(at.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return base::os_error("socket");
    const int one = 1, zero = 0;
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (at.family() == AF_INET6) (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    sockaddr_storage address{};
    const socklen_t length = at.to_sockaddr(address, at.family());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return base::os_error("bind", at.to_string());
    if (::listen(fd.get(), kBacklog) != 0) return base::os_error("listen", at.to_string());
    return fd;
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    const rlimit most{kMostDescriptors, kMostDescriptors};
    if (::setrlimit(RLIMIT_NOFILE, &most) == 0) return;  // root may raise the hard limit too
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace warren::bench
