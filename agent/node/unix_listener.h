// SPDX-License-Identifier: Apache-2.0
// UnixListener: a listening Unix socket that changes hands by rename(2). The later of two overlapping agents owns the path at once and
// without a moment in which it is missing; each removes the path at its end only while the path still is its own. Mode 0600. Whoever
// connects is handed out with the kernel's word on who it is (SO_PEERCRED). Any one thread.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

namespace warren::node {

struct UnixPeer {
    static constexpr uid_t kUnknown = static_cast<uid_t>(-1);  // no user's; trusted nowhere

    base::Fd fd;  // does not block
    int os = 0;   // accept4's errno where there is none: EAGAIN when nobody waits
    pid_t pid = 0;
    uid_t uid = kUnknown;

    // Root or the user that we run as.
    [[nodiscard]] bool trusted() const;
    // Not taken for want of descriptors or memory: it still waits, so the listener stays readable.
    [[nodiscard]] bool beyond_means() const;
};

class UnixListener {
  public:
    // type: SOCK_STREAM or SOCK_SEQPACKET. The socket does not block. Errors name the path.
    static base::Result<UnixListener> take(const std::string& path, int type);
    UnixListener(UnixListener&& other) noexcept
        : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}
    UnixListener& operator=(UnixListener&&) = delete;
    ~UnixListener();

    [[nodiscard]] UnixPeer accept() const;
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] bool owns_path() const;

  private:
    UnixListener(base::Fd fd, std::string path, dev_t device, ino_t inode)
        : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

    base::Fd fd_;
    std::string path_;  // empty: moved from
    dev_t device_;
    ino_t inode_;
};

}  // namespace warren::node
