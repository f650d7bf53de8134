// SPDX-License-Identifier: Apache-2.0
// Bulk: every thread fills, or empties, its connections until the time is over. What counts is what the receiving end got: forward, the
// server tells how much came to its end, and the clock runs until the last of these answers.
#include "base/bytes.h"
#include "tools/bench/load_client.h"
#include "tools/bench/load_protocol.h"
#include "tools/bench/load_socket.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <cerrno>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

constexpr int kTurns = 4;    // chunks of one connection before the next has its turn
constexpr int kWaitMs = 50;  // between looks at the clock when nothing moves
constexpr int kAnswerMs = 10'000;

struct Stream {
    base::Fd fd;
    uint64_t sent = 0;
    bool failed = false;
};

struct Part {
    std::vector<Stream> streams;
    uint64_t bytes = 0, failed = 0;
    LoadClock::time_point end;
};

void open_streams(const LoadOptions& options, uint32_t t, Part& part) {
    const char kind = static_cast<char>(options.reverse ? LoadKind::Give : LoadKind::Take);
    for (uint32_t i = t; i < options.connections; i += options.threads) {
        const auto to = load_target(options, i);
        auto fd = to ? connect_to(*to) : base::Result<base::Fd>(to.error());
        if (fd && ::send(fd->get(), &kind, 1, MSG_NOSIGNAL) == 1)
            part.streams.push_back({std::move(*fd)});
        else
            ++part.failed;
    }
}

// false: the connection is dead.
bool move(Stream& stream, bool reverse, std::vector<char>& chunk, uint64_t& received) {
    for (int turn = 0; turn < kTurns; ++turn) {
        const ssize_t n = reverse ? ::recv(stream.fd.get(), chunk.data(), chunk.size(), 0)
                                  : ::send(stream.fd.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        if (n == 0) return false;
        (reverse ? received : stream.sent) += static_cast<uint64_t>(n);
    }
    return true;
}

// The server's count of what came; a connection that lost a byte has failed.
void settle(Part& part) {
    for (Stream& stream : part.streams)
        if (!stream.failed) (void)::shutdown(stream.fd.get(), SHUT_WR);
    for (Stream& stream : part.streams) {
        std::array<uint8_t, kTakenBytes> answer{};
        pollfd wait{stream.fd.get(), POLLIN, 0};
        const bool answered = !stream.failed && ::poll(&wait, 1, kAnswerMs) == 1 &&
                              ::recv(stream.fd.get(), answer.data(), answer.size(), MSG_WAITALL) == static_cast<ssize_t>(answer.size());
        const uint64_t came = answered ? base::load_be<uint64_t>(answer) : 0;
        part.bytes += came;
        part.failed += answered && came == stream.sent ? 0 : 1;
    }
}

void run_part(const LoadOptions& options, LoadClock::time_point end, Part& part) {
    const base::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    for (size_t i = 0; i < part.streams.size(); ++i) {
        epoll_event event{.events = options.reverse ? uint32_t{EPOLLIN} : uint32_t{EPOLLOUT}, .data = {.u64 = i}};
        (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, part.streams[i].fd.get(), &event);
    }
    std::vector<char> chunk(kLoadChunkBytes, 'b');
    std::array<epoll_event, 64> events{};
    while (LoadClock::now() < end) {
        const int n = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), kWaitMs);
        for (int i = 0; i < n; ++i) {
            Stream& stream = part.streams[events[static_cast<size_t>(i)].data.u64];
            if (stream.failed || move(stream, options.reverse, chunk, part.bytes)) continue;
            stream.failed = true;
            if (options.reverse) ++part.failed;
            (void)::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, stream.fd.get(), nullptr);
        }
    }
    if (!options.reverse) settle(part);
    part.end = LoadClock::now();
}

}  // namespace

base::Result<std::string> load_bulk(const LoadOptions& options) {
    std::vector<Part> parts(options.threads);
    LoadClock::time_point began;
    std::barrier ready(static_cast<std::ptrdiff_t>(options.threads), [&]() noexcept { began = LoadClock::now(); });
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < options.threads; ++t) {
        threads.emplace_back([&, t] {
            open_streams(options, t, parts[t]);
            ready.arrive_and_wait();
            run_part(options, began + std::chrono::duration_cast<LoadClock::duration>(std::chrono::duration<double>(options.seconds)),
                     parts[t]);
        });
    }
    for (std::thread& thread : threads) thread.join();
    uint64_t bytes = 0, failed = 0;
    LoadClock::time_point end = began;
    for (const Part& part : parts) bytes += part.bytes, failed += part.failed, end = std::max(end, part.end);
    const double seconds = std::chrono::duration<double>(end - began).count();
    return nlohmann::ordered_json{{"mode", options.reverse ? "bulk reverse" : "bulk"},
                                  {"ops", options.connections - failed},
                                  {"failed", failed},
                                  {"bytes", bytes},
                                  {"seconds", seconds},
                                  {"gbps", static_cast<double>(bytes) * 8e-9 / seconds}}
               .dump() +
           '\n';
}

}  // namespace warren::bench
