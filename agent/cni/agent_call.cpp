// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/agent_call.h"

#include "base/fd.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

namespace warren::cni {

namespace {

constexpr auto kConnectAgain = std::chrono::milliseconds(10);

base::Error nobody(int os, const std::string& socket) {
    return {base::Errc::Unavailable, os, "ask the agent", "nobody answers at " + socket};
}

int left_ms(base::MonoTime deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

base::Result<base::Fd> connect_to(const std::string& path, base::MonoTime deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return base::invalid("socket path '" + path + "' is longer than a Unix socket's may be");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    base::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return base::os_error("socket", path);
    for (;;) {
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
        const int os = errno;
        // EAGAIN: the queue of those who wait to be accepted is full; there is no event for its having room again.
        if (os != EAGAIN && os != EINTR) return nobody(os, path);
        if (left_ms(deadline) == 0) return base::Error{base::Errc::Timeout, 0, "ask the agent", "it accepts nobody at " + path};
        std::this_thread::sleep_for(kConnectAgain);
    }
}

base::Result<void> send_question(int fd, const std::string& text, int netns_fd) {
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (netns_fd >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(head), &netns_fd, sizeof netns_fd);
    }
    // One packet on a socket of our own that is empty: it fits or never will.
    if (::sendmsg(fd, &message, MSG_NOSIGNAL) < 0) return base::os_error("sendmsg", "the agent's socket");
    return {};
}

}  // namespace

base::Result<Answer> ask_agent(const std::string& socket, const Question& question, int netns_fd, base::MonoTime deadline) {
    const base::Fd fd = TRY(connect_to(socket, deadline));
    if (auto sent = send_question(fd.get(), encode(question), netns_fd); !sent) {
        if (sent.error().os == EPIPE || sent.error().os == ECONNRESET) return nobody(sent.error().os, socket);
        return std::move(sent).error();
    }
    std::array<char, kMaxMessage + 1> buffer{};
    for (;;) {
        pollfd waiting{fd.get(), POLLIN, 0};
        const int wait = left_ms(deadline);
        const int ready = ::poll(&waiting, 1, wait);
        if (ready < 0 && errno != EINTR) return base::os_error("poll", socket);
        if (ready == 0) return base::Error{base::Errc::Timeout, 0, "ask the agent", "it did not answer in time"};
        if (ready < 0) continue;
        const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return nobody(n < 0 ? errno : 0, socket);
        return parse_answer({buffer.data(), static_cast<size_t>(n)});
    }
}

}  // namespace warren::cni
