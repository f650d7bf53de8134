// SPDX-License-Identifier: Apache-2.0
#include "base/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // Linux 5.14; older headers, and all architectures but parisc and sparc
#endif

namespace warren::base {

Result<Netns> Netns::check(Fd fd, const std::string& name) {
    // The file system first: what the request means to a device is the device's affair.
    struct statfs fs{};
    const bool is_namespace = ::fstatfs(fd.get(), &fs) == 0 && fs.f_type == NSFS_MAGIC;
    if (!is_namespace || ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
        return invalid(name + " is not a network namespace; give a file such as /run/netns/NAME or /proc/PID/ns/net");
    }
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) return os_error("fstat", name);
    return Netns(std::move(fd), st.st_dev, st.st_ino);
}

Result<Netns> Netns::open(const std::string& path) {
    // O_NONBLOCK: what an operator names may be a fifo, and open would wait for its writer.
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) return os_error("open", path);
    return check(std::move(fd), path);
}

Result<Netns> Netns::of_pid(pid_t pid) {
    if (pid <= 0) return invalid("pid " + std::to_string(pid) + " is not a process id");
    return open("/proc/" + std::to_string(pid) + "/ns/net");
}

Result<Netns> Netns::adopt(Fd fd) {
    const std::string name = "fd " + std::to_string(fd.get());
    return check(std::move(fd), name);
}

Result<Netns> Netns::current() { return open("/proc/thread-self/ns/net"); }

Result<uint64_t> Netns::cookie() const {
    return in_netns(*this, []() -> Result<uint64_t> {
        // Any family will do; this one is in every kernel.
        const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!socket) return os_error("socket");
        return netns_cookie_of(socket.get());
    });
}

Result<uint64_t> netns_cookie_of(int socket_fd) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (::getsockopt(socket_fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) return os_error("getsockopt SO_NETNS_COOKIE");
    return cookie;
}

Result<NetnsStay> NetnsStay::enter(const Netns& target, const Netns& home) {
    if (::setns(target.fd(), CLONE_NEWNET) != 0) {
        const int os = errno;
        return os_error_of(os, "setns",
                           "to network namespace " + std::to_string(target.inode()) + (os == EPERM ? " (needs CAP_SYS_ADMIN)" : ""));
    }
    return NetnsStay(home);
}

NetnsStay::~NetnsStay() {
    if (home_ == nullptr || ::setns(home_->fd(), CLONE_NEWNET) == 0) return;
    const int os = errno;
    std::fprintf(stderr, "fatal: cannot return to network namespace %llu: %s; aborting rather than work in another pod's network\n",
                 static_cast<unsigned long long>(home_->inode()), os_error_of(os, "setns").message().c_str());
    std::abort();
}

}  // namespace warren::base
