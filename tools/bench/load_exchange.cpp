// SPDX-License-Identifier: Apache-2.0
// Exchanges: requests over open connections, or whole connections, each with a latency. One Worker per thread owns its slots; a slot has
// at most one operation under way. Sockets are edge-triggered and registered once, so an operation costs no call to epoll beyond the wait.
#include "tools/bench/histogram.h"
#include "tools/bench/load_client.h"
#include "tools/bench/load_protocol.h"
#include "tools/bench/load_socket.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <cerrno>
#include <cstddef>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace warren::bench {

namespace {

using Time = LoadClock::time_point;
using Span = LoadClock::duration;

constexpr double kWarmShare = 0.1;                            // of the time, not recorded
constexpr Span kGrace = std::chrono::seconds(5);              // after the end, for what was due before it
constexpr Span kAfterFailure = std::chrono::milliseconds(1);  // a refused connection does not make a busy loop

Span seconds(double s) { return std::chrono::duration_cast<Span>(std::chrono::duration<double>(s)); }

struct Slot {
    base::Fd fd;
    Time due;
    size_t to_send = 0, to_read = 0;
    uint32_t number = 0;  // among all threads'
    bool busy = false, to_end = false;
};

class Worker {
  public:
    Worker(const LoadOptions& options, uint32_t thread)
        : options_(options), slots_(load_share(options, thread)), chunk_(options.bytes + 2, 'x') {
        for (uint32_t i = 0; i < slots_.size(); ++i) slots_[i].number = thread + i * options.threads;
    }

    // Connect mode opens in run().
    void open() {
        epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
        if (options_.mode == LoadMode::Connect) return;
        for (size_t i = 0; i < slots_.size(); ++i)
            if (auto fd = open_asked(options_, slots_[i].number)) slots_[i].fd = std::move(*fd), watch(i);
    }

    void run(Time began) {
        warm_ = began + seconds(options_.seconds * kWarmShare);
        end_ = began + seconds(options_.seconds);
        for (size_t i = 0; i < slots_.size(); ++i) {
            if (options_.mode == LoadMode::Request && !slots_[i].fd) {
                ++failed;
                continue;
            }
            slots_[i].due = options_.rate > 0 ? began + seconds(slots_[i].number / options_.rate) : began;
            waiting_.push({slots_[i].due, i});
        }
        std::array<epoll_event, 128> events{};
        for (Time now = LoadClock::now(); now < end_ || (busy_ + waiting_.size() > 0 && now < end_ + kGrace); now = LoadClock::now()) {
            begin_due(now);
            const timespec wait = until_next(LoadClock::now());
            const int n = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &wait, nullptr);
            for (int i = 0; i < n; ++i) advance(events[static_cast<size_t>(i)].data.u64);
        }
        failed += busy_ + waiting_.size();  // begun, or due, and never done
    }

    Histogram latencies;
    uint64_t failed = 0;

  private:
    using Entry = std::pair<Time, size_t>;

    void watch(size_t i) {
        epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.u64 = i}};
        (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, slots_[i].fd.get(), &event);
    }

    void begin_due(Time now) {
        while (!waiting_.empty() && waiting_.top().first <= now) {
            const size_t i = waiting_.top().second;
            waiting_.pop();
            begin(i);
        }
    }

    void begin(size_t i) {
        Slot& slot = slots_[i];
        if (options_.rate <= 0) slot.due = LoadClock::now();
        if (slot.due >= end_) return;
        slot.busy = true;
        ++busy_;
        if (options_.mode == LoadMode::Request) {
            slot.to_send = slot.to_read = options_.bytes;
            return advance(i);
        }
        const auto to = load_target(options_, slot.number);
        auto fd = to ? begin_connect(*to) : base::Result<base::Fd>(to.error());
        if (!fd) return fail(i);
        slot.fd = std::move(*fd);
        slot.to_send = 2;
        slot.to_read = 1;
        slot.to_end = true;
        watch(i);
    }

    void advance(size_t i) {
        Slot& slot = slots_[i];
        if (!slot.busy) return;
        while (slot.to_send > 0) {
            chunk_[0] = options_.mode == LoadMode::Connect ? static_cast<char>(LoadKind::Once) : 'x';
            const ssize_t n = ::send(slot.fd.get(), chunk_.data(), slot.to_send, MSG_NOSIGNAL);
            if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
            if (n <= 0) return fail(i);
            slot.to_send -= static_cast<size_t>(n);
        }
        while (slot.to_read > 0 || slot.to_end) {
            const ssize_t n = ::recv(slot.fd.get(), chunk_.data(), std::max<size_t>(slot.to_read, 1), 0);
            if (n < 0 && errno == EAGAIN) return;
            if (n < 0 || (n == 0) != (slot.to_read == 0)) return fail(i);
            slot.to_read -= static_cast<size_t>(n);
            if (n == 0) slot.to_end = false;
        }
        finish(i);
    }

    void finish(size_t i) {
        Slot& slot = slots_[i];
        const Time now = LoadClock::now();
        // With a rate, what was due counts; without, what ended in time.
        if (slot.due >= warm_ && (options_.rate > 0 || now < end_))
            latencies.record(static_cast<uint64_t>(std::chrono::nanoseconds(now - slot.due).count()));
        if (options_.mode == LoadMode::Connect) slot.fd.reset();
        next(i, now);
    }

    void fail(size_t i) {
        ++failed;
        slots_[i].fd.reset();
        if (options_.mode == LoadMode::Connect) return next(i, LoadClock::now() + kAfterFailure);
        slots_[i].busy = false;
        --busy_;
    }

    void next(size_t i, Time from) {
        Slot& slot = slots_[i];
        slot.busy = false;
        --busy_;
        slot.due = options_.rate > 0 ? slot.due + seconds(options_.connections / options_.rate) : from;
        if (slot.due < end_) waiting_.push({slot.due, i});
    }

    [[nodiscard]] timespec until_next(Time now) const {
        Time at = waiting_.empty() ? end_ : waiting_.top().first;
        if (waiting_.empty() && now >= end_ && busy_ > 0) at = end_ + kGrace;
        const auto ns = std::max<int64_t>(0, std::chrono::nanoseconds(at - now).count());
        return {ns / 1'000'000'000, ns % 1'000'000'000};
    }

    const LoadOptions& options_;
    base::Fd epoll_;
    std::vector<Slot> slots_;
    std::vector<char> chunk_;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> waiting_;
    size_t busy_ = 0;
    Time warm_, end_;
};

std::string report(const LoadOptions& options, const Histogram& all, uint64_t failed) {
    const double recorded = options.seconds * (1 - kWarmShare);
    const auto us = [&](double share) { return static_cast<double>(all.quantile(share)) / 1e3; };
    const bool request = options.mode == LoadMode::Request;
    const uint64_t bytes = all.count() * (request ? options.bytes : 1) * 2;
    return nlohmann::ordered_json{{"mode", request ? "request" : "connect"},
                                  {"ops", all.count()},
                                  {"failed", failed},
                                  {"bytes", bytes},
                                  {"seconds", recorded},
                                  {"per_second", static_cast<double>(all.count()) / recorded},
                                  {"p50_us", us(0.5)},
                                  {"p90_us", us(0.9)},
                                  {"p99_us", us(0.99)},
                                  {"p999_us", us(0.999)},
                                  {"max_us", static_cast<double>(all.max()) / 1e3}}
               .dump() +
           '\n';
}

}  // namespace

base::Result<std::string> load_exchanges(const LoadOptions& options) {
    std::vector<Worker> workers;
    workers.reserve(options.threads);
    for (uint32_t t = 0; t < options.threads; ++t) workers.emplace_back(options, t);
    Time began;
    std::barrier ready(static_cast<std::ptrdiff_t>(options.threads), [&]() noexcept { began = LoadClock::now(); });
    std::vector<std::thread> threads;
    for (Worker& worker : workers) {
        threads.emplace_back([&] {
            worker.open();
            ready.arrive_and_wait();
            worker.run(began);
        });
    }
    for (std::thread& thread : threads) thread.join();
    Histogram all;
    uint64_t failed = 0;
    for (const Worker& worker : workers) all.merge(worker.latencies), failed += worker.failed;
    return report(options, all, failed);
}

}  // namespace warren::bench
