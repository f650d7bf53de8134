// SPDX-License-Identifier: Apache-2.0
#include "base/log_writer.h"

#include "base/fd.h"

#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

namespace warren::base::log {

struct Writer::Queue {
    Queue(const Options& o, Fd own)
        : options(o), whole_batch(std::min<size_t>(kBatchLines, o.queue_lines)), fd(std::move(own)), ring(o.queue_lines) {}

    static constexpr auto kGather = std::chrono::milliseconds(2);
    const Options options;
    const size_t whole_batch;
    const Fd fd;
    std::mutex mutex;
    std::condition_variable filled;    // the thread waits: lines, or stop
    std::condition_variable gathered;  // the thread waits: a whole batch, or somebody in a hurry
    std::condition_variable emptied;   // producers wait: room
    std::condition_variable settled;   // flush and stop wait: progress
    std::vector<std::string> ring;     // fixed size; count lines from head on
    size_t head = 0;
    size_t count = 0;
    uint64_t taken_in = 0;  // lines ever queued
    uint64_t settled_to = 0;
    bool stuck = false;  // a producer's deadline passed and no batch was written since
    int flushing = 0;    // callers of flush()
    bool stopping = false;
    bool finished = false;
    std::atomic<uint64_t> written{0}, dropped{0}, failed{0};

    // Up to a batch of lines, moved out; 0 when stopping and empty.
    size_t take(std::array<std::string, kBatchLines>& batch) {
        std::unique_lock lock(mutex);
        filled.wait(lock, [&] { return count > 0 || stopping; });
        // A line alone waits a moment for others: a busy proxy writes thousands a second, and one wake-up and one system call for each
        // cost more than the lines.
        if (count < whole_batch) gathered.wait_for(lock, kGather, [&] { return count >= whole_batch || stopping || flushing > 0; });
        size_t n = 0;
        for (; n < batch.size() && count > 0; ++n) {
            // Not a plain move, which leaves the slot the storage of an earlier line: ten thousand of those are six megabytes.
            batch[n] = std::exchange(ring[head], std::string());
            head = (head + 1) % ring.size();
            --count;
        }
        return n;
    }

    void write(const std::array<std::string, kBatchLines>& batch, size_t n) {
        std::array<iovec, kBatchLines> parts{};
        for (size_t i = 0; i < n; ++i) parts[i] = {const_cast<char*>(batch[i].data()), batch[i].size()};
        size_t first = 0;
        while (first < n) {
            const ssize_t done = ::writev(fd.get(), &parts[first], static_cast<int>(n - first));
            if (done < 0) {
                const int os = errno;
                if (os == EINTR) continue;
                if (os == EAGAIN) {
                    pollfd ready{fd.get(), POLLOUT, 0};
                    ::poll(&ready, 1, 1000);
                    continue;
                }
                failed.fetch_add(n - first, std::memory_order_relaxed);
                return;
            }
            auto left = static_cast<size_t>(done);
            while (first < n && left >= parts[first].iov_len) {
                left -= parts[first++].iov_len;
                written.fetch_add(1, std::memory_order_relaxed);
            }
            if (first < n) parts[first] = {static_cast<char*>(parts[first].iov_base) + left, parts[first].iov_len - left};
        }
    }

    void run() {
        std::array<std::string, kBatchLines> batch;
        while (const size_t n = take(batch)) {
            emptied.notify_all();
            write(batch, n);
            const std::scoped_lock lock(mutex);
            stuck = false;
            settled_to += n;
            settled.notify_all();
        }
        const std::scoped_lock lock(mutex);
        finished = true;
        settled.notify_all();
    }
};

Result<std::unique_ptr<Writer>> Writer::start(const Options& options) {
    if (options.queue_lines == 0) return invalid("log queue of 0 lines: at least 1 is needed");
    Result<Fd> own = Fd::dup(options.fd);
    if (!own) return std::move(own).error().with("log descriptor");
    std::unique_ptr<Writer> writer(new Writer(std::make_shared<Queue>(options, *std::move(own))));
    sigset_t all, before;
    sigfillset(&all);
    if (const int os = ::pthread_sigmask(SIG_SETMASK, &all, &before); os != 0) return os_error_of(os, "pthread_sigmask");
    int failed = 0;
    try {
        writer->thread_ = std::thread([queue = writer->queue_] { queue->run(); });
    } catch (const std::system_error& e) {
        failed = e.code().value();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failed != 0) return os_error_of(failed, "start the log writer thread");
    return writer;
}

Writer::~Writer() { stop(queue_->options.full_deadline); }

bool Writer::push(std::string line) {
    Queue& q = *queue_;
    std::unique_lock lock(q.mutex);
    const auto room = [&] { return q.count < q.ring.size() || q.stopping || q.stuck; };
    if (!room() && !q.emptied.wait_for(lock, q.options.full_deadline, room)) {
        q.stuck = true;
        q.emptied.notify_all();  // the others need not wait out theirs
    }
    if (q.stopping || q.count == q.ring.size()) {
        q.dropped.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    q.ring[(q.head + q.count) % q.ring.size()] = std::move(line);
    ++q.taken_in;
    if (++q.count == 1) q.filled.notify_one();
    if (q.count == q.whole_batch) q.gathered.notify_one();
    return true;
}

bool Writer::flush(std::chrono::milliseconds deadline) {
    Queue& q = *queue_;
    std::unique_lock lock(q.mutex);
    const uint64_t upto = q.taken_in;
    ++q.flushing;
    q.gathered.notify_one();
    const bool done = q.settled.wait_for(lock, deadline, [&] { return q.settled_to >= upto; });
    --q.flushing;
    return done;
}

bool Writer::stop(std::chrono::milliseconds deadline) {
    if (!thread_.joinable()) return true;
    Queue& q = *queue_;
    bool finished = false;
    {
        std::unique_lock lock(q.mutex);
        q.stopping = true;
        q.filled.notify_all();
        q.gathered.notify_all();
        q.emptied.notify_all();
        finished = q.settled.wait_for(lock, deadline, [&] { return q.finished; });
    }
    if (finished)
        thread_.join();
    else
        thread_.detach();
    return finished;
}

Stats Writer::stats() const {
    const Queue& q = *queue_;
    return {q.written.load(std::memory_order_relaxed), q.dropped.load(std::memory_order_relaxed), q.failed.load(std::memory_order_relaxed)};
}

}  // namespace warren::base::log
