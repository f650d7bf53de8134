// SPDX-License-Identifier: Apache-2.0
#include "base/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace warren::base {

Result<void> netlink_dump(int fd, std::span<const std::byte> request, const char* what, const std::function<bool(const nlmsghdr&)>& each) {
    if (::send(fd, request.data(), request.size(), 0) < 0) return os_error("send", what);
    alignas(nlmsghdr) std::array<std::byte, 32768> buffer{};  // as much as the kernel gives at once
    for (;;) {
        const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os_error("recv", what);
        if (n == 0) return os_error_of(EPROTO, "dump", what);
        auto left = static_cast<uint32_t>(n);
        for (const auto* m = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_type == NLMSG_DONE) return {};
            if (m->nlmsg_type == NLMSG_ERROR) return os_error_of(-static_cast<const nlmsgerr*>(NLMSG_DATA(m))->error, "dump", what);
            if (!each(*m)) return {};
        }
    }
}

}  // namespace warren::base
