// SPDX-License-Identifier: Apache-2.0
// Fd: the one owner of a file descriptor, closed exactly once. Everything this file opens is close-on-exec. A value of the thread that
// holds it; errno is kept over the close, so an Fd may die between a failed call and the error made from it. Errors carry the errno.
#pragma once

#include "base/result.h"

#include <utility>

namespace warren::base {

class Fd {
  public:
    constexpr Fd() = default;
    explicit Fd(int fd) noexcept : fd_(fd) {}  // takes ownership; a negative number is no descriptor
    ~Fd() { reset(); }
    Fd(Fd&& other) noexcept : fd_(other.release()) {}
    Fd& operator=(Fd&& other) noexcept {
        reset(other.release());
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;

    // A second descriptor for the same open file. The given one stays the caller's.
    static Result<Fd> dup(int fd);

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
    explicit operator bool() const noexcept { return valid(); }

    // Gives up ownership.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    // Closes what it holds and owns fd from now on. Keeping the same number is no change.
    void reset(int fd = -1) noexcept;

  private:
    int fd_ = -1;
};

struct FdPair {
    Fd first, second;
};

// first reads what second writes. flags are those of pipe2(2), for example O_NONBLOCK.
Result<FdPair> make_pipe(int flags = 0);
// Two connected AF_UNIX sockets; type as for socketpair(2), for example SOCK_STREAM | SOCK_NONBLOCK.
Result<FdPair> make_socket_pair(int type);

}  // namespace warren::base
