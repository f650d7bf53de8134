// SPDX-License-Identifier: Apache-2.0
#include "agent/node/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace warren::node {
namespace {

constexpr int kBacklog = 16;

}  // namespace

bool UnixPeer::trusted() const { return uid == 0 || uid == ::geteuid(); }

bool UnixPeer::beyond_means() const { return os == EMFILE || os == ENFILE || os == ENOMEM || os == ENOBUFS; }

base::Result<UnixListener> UnixListener::take(const std::string& path, int type) {
    // The name to bind under before it is the path: of this process alone, in the same directory, so that rename(2) is one step.
    const std::string fresh = path + "." + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || fresh.size() >= sizeof address.sun_path) {
        return base::invalid("socket path '" + path + "': it has 1 to " + std::to_string(sizeof address.sun_path - 12) + " bytes");
    }
    std::memcpy(address.sun_path, fresh.c_str(), fresh.size() + 1);
    base::Fd fd(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return base::os_error("socket", path);
    (void)::unlink(fresh.c_str());
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return base::os_error("bind", path);
    struct stat made{};
    if (::chmod(fresh.c_str(), 0600) != 0 || ::stat(fresh.c_str(), &made) != 0 || ::listen(fd.get(), kBacklog) != 0 ||
        ::rename(fresh.c_str(), path.c_str()) != 0) {
        base::Error error = base::os_error("listen", path);
        (void)::unlink(fresh.c_str());
        return error;
    }
    return UnixListener(std::move(fd), path, made.st_dev, made.st_ino);
}

UnixPeer UnixListener::accept() const {
    UnixPeer peer;
    peer.fd.reset(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!peer.fd) {
        peer.os = errno;
        return peer;
    }
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(peer.fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return peer;
    peer.pid = who.pid;
    peer.uid = who.uid;
    return peer;
}

bool UnixListener::owns_path() const {
    struct stat now{};
    return !path_.empty() && ::stat(path_.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_;
}

UnixListener::~UnixListener() {
    if (owns_path()) (void)::unlink(path_.c_str());
}

}  // namespace warren::node
