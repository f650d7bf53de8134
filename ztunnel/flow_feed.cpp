// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/flow_feed.h"

#include "base/log.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("flows");
constexpr int kLastWordMs = 500;

size_t own_queue(size_t queues) {
    static std::atomic<size_t> next{0};
    thread_local const size_t own = next.fetch_add(1, std::memory_order_relaxed);
    return own % queues;
}

}  // namespace

FlowFeed::FlowFeed(Options options, const FlowSource& source, base::Fd stop, base::Fd wake)
    : options_(std::move(options)), source_(source), stop_(std::move(stop)), wake_(std::move(wake)) {
    for (size_t i = 0; i < kQueues; ++i) queues_.push_back(std::make_unique<base::Mailbox>(options_.queue));
}

base::Result<std::unique_ptr<FlowFeed>> FlowFeed::start(Options options, const FlowSource& source) {
    if (options.path.size() >= sizeof(sockaddr_un::sun_path))
        return base::invalid("WARREN_FLOW_SOCKET: " + options.path + " is longer than a Unix socket path may be (107 bytes)");
    base::Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop.valid() || !wake.valid()) return base::os_error("eventfd");
    std::unique_ptr<FlowFeed> feed(new FlowFeed(std::move(options), source, std::move(stop), std::move(wake)));
    feed->thread_ = std::thread([f = feed.get()] { f->run(); });
    return feed;
}

FlowFeed::~FlowFeed() {
    stopping_ = true;
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
}

void FlowFeed::offer(FlowEvent event) {
    // The task runs on the feed's thread, in drain().
    base::Task task([this, event = std::move(event)]() mutable { events_.push_back(std::move(event)); });
    if (!queues_[own_queue(kQueues)]->push(std::move(task))) lost_.fetch_add(1, std::memory_order_relaxed);
    if (woken_.load(std::memory_order_relaxed) || woken_.exchange(true)) return;
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
}

FlowFeed::Stats FlowFeed::stats() const {
    return {sent_.load(std::memory_order_relaxed), lost_.load(std::memory_order_relaxed), sessions_.load(std::memory_order_relaxed),
            connected_.load(std::memory_order_relaxed)};
}

void FlowFeed::drain() {
    uint64_t wakes = 0;
    (void)!::read(wake_.get(), &wakes, sizeof wakes);
    woken_ = false;  // before the queues are read: who comes later wakes us again
    for (auto& queue : queues_)
        while (base::Task task = queue->pop()) task();
}

// True: something happened on fd. Wakes by stop too.
bool FlowFeed::wait(int fd, short events, int timeout_ms) {
    std::array<pollfd, 2> fds{{{stop_.get(), POLLIN, 0}, {fd, events, 0}}};
    const int n = ::poll(fds.data(), fd >= 0 ? 2 : 1, timeout_ms);
    return n > 0 && fd >= 0 && fds[1].revents != 0;
}

void FlowFeed::run() {
    base::RandomEngine random = base::make_random_engine();
    base::Backoff backoff(base::Backoff::Mode::Decorrelated, options_.first_wait, options_.longest_wait);
    while (!stopping_) {
        auto fd = connect();
        if (fd) {
            backoff.reset();
            connected_ = true;
            ++sessions_;
            session(fd->get());
            connected_ = false;
            if (!stopping_) WARREN_LOG(kLog, base::log::Level::Info, "the flow feed's reader is gone", {"path", options_.path});
        } else {
            WARREN_LOG(kLog, base::log::Level::Debug, "no reader for the flow feed", {"error", fd.error().message()});
        }
        if (stopping_) break;
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(backoff.next(random)).count();
        (void)wait(-1, 0, static_cast<int>(ms));
        drain();
        // What is open is told again after the next connect; of the ends the oldest go first.
        std::erase_if(events_, [](const FlowEvent& event) { return !event.ended; });
        while (events_.size() > options_.kept) {
            events_.pop_front();
            lost_.fetch_add(1, std::memory_order_relaxed);
        }
    }
    lost_.fetch_add(events_.size(), std::memory_order_relaxed);
}

base::Result<base::Fd> FlowFeed::connect() const {
    base::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return base::os_error("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, options_.path.data(), options_.path.size());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return base::os_error("connect", options_.path);
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return base::os_error("getsockopt SO_PEERCRED", options_.path);
    if (peer.uid != 0 && peer.uid != ::geteuid())
        return base::Error{base::Errc::Denied, 0, options_.path.c_str(),
                           "the reader runs as user " + std::to_string(peer.uid) + ", which is neither root nor ours"};
    return fd;
}

void FlowFeed::session(int fd) {
    sequence_ = 0;
    writer_ = {};
    in_writer_ = taken_ = 0;
    // Ends that are queued already belong to flows which are not open any more, so they go after these.
    drain();
    std::erase_if(events_, [](const FlowEvent& event) { return !event.ended; });
    using Clock = std::chrono::steady_clock;
    auto progress_due = Clock::now() + options_.progress;
    if (!tell(fd, source_.open_flows())) return;
    bool alive = send_events(fd);
    while (alive && !stopping_) {
        std::array<pollfd, 3> fds{{{stop_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}, {fd, POLLIN, 0}}};
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(progress_due - Clock::now());
        if (::poll(fds.data(), fds.size(), static_cast<int>(std::max<int64_t>(left.count(), 0))) < 0 && errno != EINTR) return;
        if (fds[2].revents != 0) return;  // the reader says nothing; this is its end
        if (Clock::now() >= progress_due) {
            // Before what is queued, in which one of these may have ended.
            if (!tell(fd, source_.moved_flows())) return;
            progress_due = Clock::now() + options_.progress;
        }
        if (fds[1].revents == 0) continue;
        (void)wait(-1, 0, static_cast<int>(options_.gather.count()));
        drain();
        alive = send_events(fd);
    }
    if (!alive) return;
    drain();
    (void)send_events(fd);
}

bool FlowFeed::tell(int fd, const std::vector<FlowEvent>& flows) {
    for (const FlowEvent& event : flows)
        if (!send_flow(fd, event)) return false;
    return flush(fd);
}

bool FlowFeed::send_events(int fd) {
    for (; taken_ < events_.size(); ++taken_)
        if (!send_flow(fd, events_[taken_])) return false;
    return flush(fd);
}

// False: the connection is of no use any more.
bool FlowFeed::send_flow(int fd, const FlowEvent& event) {
    const std::string flow = flow_message(event, options_.node);
    if (writer_.add(flow)) {
        ++in_writer_;
        return true;
    }
    if (!flush(fd)) return false;
    if (writer_.add(flow)) {
        ++in_writer_;
    } else {
        lost_.fetch_add(1, std::memory_order_relaxed);  // larger than any message may be
    }
    return true;
}

bool FlowFeed::flush(int fd) {
    const auto done = [this] {
        events_.erase(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(std::exchange(taken_, 0)));
        return true;
    };
    if (writer_.empty()) return done();
    const size_t flows = std::exchange(in_writer_, 0);
    const std::string message = writer_.finish(++sequence_, lost_.load(std::memory_order_relaxed));
    for (;;) {
        if (::send(fd, message.data(), message.size(), MSG_NOSIGNAL) >= 0) {
            sent_.fetch_add(flows, std::memory_order_relaxed);
            return done();
        }
        const int os = errno;
        if (os == EINTR) continue;
        if (os != EAGAIN) break;
        // Its socket is full. At the end of the process it gets one more chance; before that we have time.
        const bool last = stopping_;
        pollfd room{fd, POLLOUT, 0};
        if (last ? ::poll(&room, 1, kLastWordMs) <= 0 : !wait(fd, POLLOUT, -1) && !stopping_) break;
        if ((room.revents & (POLLERR | POLLHUP)) != 0) break;
    }
    return false;  // no part of a message arrives: the next reader is told of its ends too, and of all that is open anyway
}

}  // namespace warren::ztunnel
