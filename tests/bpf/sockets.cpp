// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/sockets.h"

#include "tests/catch.h"

#include <cerrno>
#include <chrono>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

namespace warren::tests::bpf {

namespace {

using Clock = std::chrono::steady_clock;

base::SockAddr named(int fd, int (*name)(int, sockaddr*, socklen_t*)) {
    sockaddr_storage s{};
    socklen_t n = sizeof s;
    if (name(fd, reinterpret_cast<sockaddr*>(&s), &n) != 0) return {};
    return base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&s), n).value_or(base::SockAddr{});
}

bool ready(int fd, short what, int wait_ms) {
    pollfd p{fd, what, 0};
    return ::poll(&p, 1, wait_ms) > 0;
}

}  // namespace

int family_of(const base::SockAddr& address) { return address.ip.is_v4() ? AF_INET : AF_INET6; }

base::Fd make_socket(Lab& lab, Actor& actor, const base::Netns& netns, int family, int type, int protocol) {
    return lab.in(actor, netns, [&] { return base::Fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol)); });
}

int start_connect(Lab& lab, Actor& actor, const base::Netns& netns, int fd, int family, const base::SockAddr& to) {
    return lab.in(actor, netns, [&] {
        sockaddr_storage s{};
        const socklen_t n = to.to_sockaddr(s, family);
        return ::connect(fd, reinterpret_cast<const sockaddr*>(&s), n) == 0 ? 0 : errno;
    });
}

int outcome(int fd, int wait_ms) {
    if (!ready(fd, POLLOUT, wait_ms)) return ETIMEDOUT;
    int error = 0;
    socklen_t n = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 ? error : errno;
}

Dialled dial(Lab& lab, Actor& actor, const base::Netns& netns, const base::SockAddr& to, const Dial& how) {
    Dialled out{make_socket(lab, actor, netns, how.family, SOCK_STREAM, how.protocol), 0};
    REQUIRE(out.fd.valid());
    if (how.prepare) lab.in(actor, netns, [&] { return how.prepare(out.fd.get()), 0; });
    out.error = start_connect(lab, actor, netns, out.fd.get(), how.family, to);
    if (out.error == EINPROGRESS) out.error = outcome(out.fd.get());
    return out;
}

base::Fd listen_at(Lab& lab, Actor& actor, const base::Netns& netns, const base::SockAddr& at, int family, int backlog) {
    base::Fd fd = make_socket(lab, actor, netns, family);
    REQUIRE(fd.valid());
    const int error = lab.in(actor, netns, [&] {
        const int on = 1;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        sockaddr_storage s{};
        const socklen_t n = at.to_sockaddr(s, family);
        if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&s), n) != 0) return errno;
        return ::listen(fd.get(), backlog) == 0 ? 0 : errno;
    });
    INFO(at.to_string());
    REQUIRE(error == 0);
    return fd;
}

std::optional<Arrived> accept_from(int listener, int wait_ms) {
    if (!ready(listener, POLLIN, wait_ms)) return std::nullopt;
    sockaddr_storage s{};
    socklen_t n = sizeof s;
    Arrived out{base::Fd(::accept4(listener, reinterpret_cast<sockaddr*>(&s), &n, SOCK_CLOEXEC | SOCK_NONBLOCK)), {}};
    if (!out.fd.valid()) return std::nullopt;
    out.peer = base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&s), n).value_or(base::SockAddr{});
    return out;
}

base::SockAddr local_name(int fd) { return named(fd, ::getsockname); }

base::SockAddr peer_name(int fd) { return named(fd, ::getpeername); }

std::optional<base::SockAddr> original_destination(int fd) {
    sockaddr_storage s{};
    socklen_t n = sizeof(sockaddr_in);
    if (::getsockopt(fd, SOL_IP, 80, &s, &n) != 0) {
        n = sizeof(sockaddr_in6);
        if (::getsockopt(fd, SOL_IPV6, 80, &s, &n) != 0) return std::nullopt;
    }
    return base::SockAddr::from_sockaddr(reinterpret_cast<const sockaddr*>(&s), n);
}

void send_all(int fd, const std::string& text) {
    size_t done = 0;
    while (done < text.size()) {
        REQUIRE(ready(fd, POLLOUT, kWaitMs));
        const ssize_t n = ::send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
        REQUIRE(n > 0);
        done += static_cast<size_t>(n);
    }
}

std::string receive(int fd, size_t n) {
    std::string out;
    std::string piece(1 << 16, '\0');
    while (out.size() < n && ready(fd, POLLIN, kWaitMs)) {
        const ssize_t got = ::recv(fd, piece.data(), std::min(piece.size(), n - out.size()), 0);
        if (got <= 0) break;
        out.append(piece.data(), static_cast<size_t>(got));
    }
    return out;
}

bool wait_until(const std::function<bool()>& condition, int wait_ms) {
    const auto end = Clock::now() + std::chrono::milliseconds(wait_ms);
    while (!condition()) {
        if (Clock::now() > end) return false;
        ::poll(nullptr, 0, 1);
    }
    return true;
}

Tunnel::Tunnel(Lab& lab, const Pod& pod)
    : outbound(listen_at(lab, lab.tunnel, pod.netns, {base::IpAddr{}, kOutbound}, AF_INET6)),
      plaintext(listen_at(lab, lab.tunnel, pod.netns, {base::IpAddr{}, kPlaintext}, AF_INET6)),
      hbone(listen_at(lab, lab.tunnel, pod.netns, {base::IpAddr{}, kHbone}, AF_INET6)) {}

}  // namespace warren::tests::bpf
