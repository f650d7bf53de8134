// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>

namespace warren::base {

Result<Fd> Fd::dup(int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return os_error("fcntl F_DUPFD_CLOEXEC", "descriptor " + std::to_string(fd));
    return Fd(copy);
}

void Fd::reset(int fd) noexcept {
    const int old = std::exchange(fd_, fd);
    if (old < 0 || old == fd) return;
    const int saved = errno;
    // Never tried again: on Linux the number is free even after EINTR or EIO, and may already be another thread's.
    [[maybe_unused]] const int closed = ::close(old);
    assert(closed == 0 || errno != EBADF);  // somebody else closed a descriptor that this object owned
    errno = saved;
}

Result<FdPair> make_pipe(int flags) {
    int fds[2];
    if (::pipe2(fds, flags | O_CLOEXEC) != 0) return os_error("pipe2");
    return FdPair{Fd(fds[0]), Fd(fds[1])};
}

Result<FdPair> make_socket_pair(int type) {
    int fds[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return os_error("socketpair");
    return FdPair{Fd(fds[0]), Fd(fds[1])};
}

}  // namespace warren::base
