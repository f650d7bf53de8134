// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cni_server.h"

#include "base/log.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace warren::node {

namespace {

const base::log::Area kArea("cni");

struct Received {
    std::string text;
    base::Fd netns;
};

// One packet, with one descriptor at most; the rest of what may ride along is closed.
base::Result<Received> receive(int fd, std::chrono::milliseconds limit) {
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(limit.count()));
    if (ready < 0) return base::os_error("poll", "the plugin's connection");
    if (ready == 0) return base::Error{base::Errc::Timeout, 0, "receive", "the plugin asked nothing"};
    Received out;
    out.text.resize(cni::kMaxMessage + 1);
    iovec part{out.text.data(), out.text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) return base::os_error("recvmsg", "the plugin's connection");
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        for (size_t at = 0; at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int got = -1;
            std::memcpy(&got, CMSG_DATA(head) + at, sizeof got);
            out.netns.reset(got);
        }
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return base::invalid("the question is longer than 16 KiB");
    out.text.resize(static_cast<size_t>(n));
    return out;
}

}  // namespace

CniServer::CniServer(CniServerOptions options, CniDecider& decider, UnixListener listener, base::Fd wake)
    : options_(std::move(options)), decider_(decider), listener_(std::move(listener)), wake_(std::move(wake)) {}

base::Result<std::unique_ptr<CniServer>> CniServer::start(CniServerOptions options, CniDecider& decider) {
    UnixListener listener = TRY(UnixListener::take(options.path, SOCK_SEQPACKET));
    base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return base::os_error("eventfd");
    std::unique_ptr<CniServer> made(new CniServer(std::move(options), decider, std::move(listener), std::move(wake)));
    for (size_t i = 0; i < made->options_.workers; ++i) made->threads_.emplace_back([server = made.get()] { server->serve(); });
    made->threads_.emplace_back([server = made.get()] { server->accept_all(); });
    return made;
}

CniServer::~CniServer() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    decider_.give_up();
    waiting_.notify_all();
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    for (std::thread& thread : threads_) thread.join();
}

CniServerStats CniServer::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

void CniServer::count(uint64_t CniServerStats::* what) {
    const std::lock_guard lock(mutex_);
    ++(stats_.*what);
}

void CniServer::accept_all() {
    for (;;) {
        std::array<pollfd, 2> fds{pollfd{wake_.get(), POLLIN, 0}, pollfd{listener_.fd(), POLLIN, 0}};
        (void)::poll(fds.data(), fds.size(), -1);
        if (fds[0].revents != 0) return;
        UnixPeer peer = listener_.accept();
        if (!peer.fd) {
            // Out of descriptors: who waits stays in the listener's queue; not a busy loop meanwhile.
            if (peer.beyond_means()) (void)::poll(fds.data(), 1, 100);
            continue;
        }
        if (!peer.trusted()) {
            count(&CniServerStats::refused_peers);
            continue;
        }
        const std::lock_guard lock(mutex_);
        if (queue_.size() >= options_.queue) {
            ++stats_.refused_full;
            continue;
        }
        queue_.push_back(std::move(peer.fd));
        waiting_.notify_one();
    }
}

void CniServer::serve() {
    for (;;) {
        base::Fd peer;
        {
            std::unique_lock lock(mutex_);
            waiting_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (stopping_) return;
            peer = std::move(queue_.front());
            queue_.pop_front();
        }
        answer(peer);
    }
}

void CniServer::answer(const base::Fd& peer) {
    auto received = receive(peer.get(), options_.receive);
    if (!received) return count(received.error().code == base::Errc::Timeout ? &CniServerStats::timeouts : &CniServerStats::malformed);
    const auto question = cni::parse_question(received->text);
    if (!question) {
        count(&CniServerStats::malformed);
        const std::string text = encode(cni::Answer{cni::Answer::Verdict::Later, question.error().message()});
        (void)::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    cni::Answer answer{cni::Answer::Verdict::Pass, {}};
    if (question->kind == cni::Question::Kind::Del) {
        decider_.del(*question);
        count(&CniServerStats::ended);
    } else {
        std::shared_ptr<const base::Netns> netns;
        if (received->netns) {
            if (auto adopted = base::Netns::adopt(std::move(received->netns)))
                netns = std::make_shared<const base::Netns>(*std::move(adopted));
        }
        const auto deadline = std::chrono::steady_clock::now() + std::min(question->patience, options_.most);
        answer = decider_.add(*question, std::move(netns), deadline);
        count(&CniServerStats::questions);
        count(answer.verdict == cni::Answer::Verdict::Pass       ? &CniServerStats::passed
              : answer.verdict == cni::Answer::Verdict::Captured ? &CniServerStats::captured
                                                                 : &CniServerStats::later);
        if (answer.verdict == cni::Answer::Verdict::Later)
            WARREN_LOG(kArea, base::log::Level::Warn, "a pod has to wait", {"pod", question->ns + "/" + question->pod},
                       {"why", answer.why});
    }
    const std::string text = encode(answer);
    (void)::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace warren::node
