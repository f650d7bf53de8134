// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/zds_client.h"

#include "base/log.h"
#include "ztunnel/zds_message.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("inpod");
// Contract 8.3: every 5 s. The first times sooner: a sandbox may be handed over a moment before its loopback is up.
constexpr auto kFirstRetry = std::chrono::milliseconds(50);
constexpr auto kLastRetry = std::chrono::milliseconds(5'000);
// A socket of this machine: an agent that is back is met within a second (the reference: 15 s), for new pods wait for it.
constexpr int kFirstBackoffMs = 10, kBackoffCapMs = 1'000;

}  // namespace

base::Result<std::unique_ptr<ZdsClient>> ZdsClient::start(std::string path, PodManager& manager) {
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        return base::invalid("INPOD_UDS: " + path + " is longer than a Unix socket path may be (107 bytes)");
    base::Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop.valid()) return base::os_error("eventfd");
    std::unique_ptr<ZdsClient> client(new ZdsClient(std::move(path), manager, std::move(stop)));
    client->thread_ = std::thread([c = client.get()] { c->run(); });
    return client;
}

ZdsClient::~ZdsClient() {
    stopping_ = true;
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
}

bool ZdsClient::wait(int fd, int timeout_ms) {
    std::array<pollfd, 2> fds{{{stop_.get(), POLLIN, 0}, {fd, POLLIN, 0}}};
    const int n = ::poll(fds.data(), fd >= 0 ? 2 : 1, timeout_ms);
    return n > 0 && !stopping_ && fd >= 0 && fds[1].revents != 0;
}

void ZdsClient::run() {
    int backoff = kFirstBackoffMs;
    while (!stopping_) {
        auto fd = connect();
        if (!fd) {
            backoff = std::min(kBackoffCapMs, backoff * 2);
            WARREN_LOG(kLog, base::log::Level::Debug, "cannot reach the node agent", {"path", path_}, {"error", fd.error().message()});
            (void)wait(-1, backoff);
            continue;
        }
        backoff = kFirstBackoffMs;
        ++sessions_;
        manager_.session_started();
        auto ended = session(fd->get());
        manager_.session_ended();
        if (stopping_) break;
        WARREN_LOG(kLog, base::log::Level::Warn, "session with the node agent ended",
                   {"error", ended ? "closed" : ended.error().message()});
        if (!ended && ended.error().code == base::Errc::Protocol) {
            // The reference ends its process here; we begin again, not faster than the agent accepts (contract 8.1: 5 a second).
            ++protocol_errors_;
            (void)wait(-1, 500);
        }
    }
}

base::Result<base::Fd> ZdsClient::connect() {
    base::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return base::os_error("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return base::os_error("connect", path_);
    const std::string hello = zds_hello();
    if (::send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL) < 0) return base::os_error("send", path_);
    return fd;
}

base::Result<void> ZdsClient::session(int fd) {
    using Clock = std::chrono::steady_clock;
    auto delay = kFirstRetry;
    auto again = Clock::now() + delay;
    size_t pending = 0;
    while (!stopping_) {
        if (const size_t now = manager_.pending(); now != pending) {
            if (now > pending) again = Clock::now() + (delay = kFirstRetry);
            pending = now;
        }
        // By the clock, not when it is quiet: where many pods start at once it is not.
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(again - Clock::now()).count();
        const int patience = static_cast<int>(pending == 0 ? kLastRetry.count() : std::max<int64_t>(left, 0));
        if (wait(fd, patience)) TRY(one_packet(fd));
        if (pending == 0 || Clock::now() < again || stopping_) continue;
        manager_.retry_pending();
        again = Clock::now() + (delay = std::min(delay * 2, kLastRetry));
    }
    return {};
}

namespace {

// One packet with the descriptors beside it. An empty packet is the end.
struct Packet {
    std::vector<uint8_t> bytes;
    std::vector<base::Fd> fds;
};

base::Result<Packet> receive(int fd) {
    Packet packet;
    packet.bytes.resize(1024);  // contract 8.1
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
    iovec iov{packet.bytes.data(), packet.bytes.size()};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) return base::os_error("recvmsg");
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int got = -1;
            std::memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
            packet.fds.emplace_back(got);
        }
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        return base::Error{base::Errc::Protocol, 0, "ZDS", "a packet longer than 1024 bytes, or with too many descriptors"};
    packet.bytes.resize(static_cast<size_t>(n));
    return packet;
}

}  // namespace

base::Result<void> ZdsClient::one_packet(int fd) {
    auto answer = [fd](const std::string& error) -> base::Result<void> {
        const std::string bytes = zds_ack(error);
        if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return base::os_error("send");
        return {};
    };
    auto packet = receive(fd);
    if (!packet && packet.error().code == base::Errc::Protocol) TRY(answer(packet.error().message()));
    if (!packet) return std::move(packet).error();
    if (packet->bytes.empty()) return base::Error{base::Errc::Unavailable, 0, "", "closed by the node agent"};
    auto request = parse_zds_request(packet->bytes, std::move(packet->fds));
    base::Result<void> done;
    bool fatal = !request;
    if (!request) {
        done = std::move(request).error();
    } else if (auto* add = std::get_if<ZdsAdd>(&*request)) {
        auto netns = base::Netns::adopt(std::move(add->netns));
        if (netns) {
            done = manager_.add(
                std::make_shared<const PodInfo>(PodInfo{add->uid, add->name, add->ns, add->service_account, std::move(*netns)}));
        } else {
            done = std::move(netns).error();
        }
        WARREN_LOG(kLog, base::log::Level::Info, "pod added", {"uid", add->uid}, {"name", add->name}, {"namespace", add->ns},
                   {"error", done ? std::string() : done.error().message()});
    } else if (auto* keep = std::get_if<ZdsKeep>(&*request)) {
        done = manager_.keep(keep->uid);
        fatal = !done;
    } else if (auto* del = std::get_if<ZdsDel>(&*request)) {
        manager_.remove(del->uid);
        WARREN_LOG(kLog, base::log::Level::Info, "pod removed", {"uid", del->uid});
    } else {
        done = manager_.snapshot_sent();
        fatal = !done;
    }
    TRY(answer(done ? std::string() : done.error().message()));
    if (fatal) return std::move(done).error();
    return {};
}

}  // namespace warren::ztunnel
