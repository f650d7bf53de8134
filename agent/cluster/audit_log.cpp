// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/audit_log.h"

#include "base/fd.h"
#include "base/utf8.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <system_error>
#include <vector>

namespace warren::cluster {

namespace {
constexpr size_t kMaxText = 1024;

constexpr size_t kMaxLines = 10'000, kBatch = 64;
constexpr std::chrono::milliseconds kStuck{1'000};     // a file that takes nothing for so long is stuck
constexpr std::chrono::milliseconds kPatience{2'000};  // of who waits for a line: the writer gives up first where it can
constexpr std::chrono::milliseconds kFlush{1'000};

std::string text(std::string_view value) {
    std::string valid;
    base::append_valid_utf8(valid, base::utf8_prefix(value, kMaxText));
    return valid;
}
}  // namespace

std::string audit_line(const AuditEvent& event, base::WallTime now) {
    nlohmann::ordered_json line = {{"time", base::to_rfc3339(now)}, {"event", event.issued ? "certificate_issued" : "certificate_refused"}};
    const auto add = [&](const char* key, std::string_view value) {
        if (!value.empty()) line[key] = text(value);
    };
    add("caller", event.caller);
    add("node", event.node);
    add("identity", event.identity);
    add("serial", event.serial);
    if (event.issued) line["not_after"] = base::to_rfc3339(event.not_after, 0);
    add("code", event.code);
    add("reason", event.reason);
    add("peer", event.peer);
    if (event.repeated > 0) line["repeated"] = event.repeated;
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

struct AuditLog::Queue {
    enum class Fate : uint8_t { Waiting, Written, Failed, Withdrawn };
    struct Line {
        std::string text;
        std::shared_ptr<Fate> fate;  // null: nobody waits. Under the lock
    };

    explicit Queue(base::Fd file) : fd(std::move(file)) {}

    const base::Fd fd;
    bool torn = false;         // of the thread: the last line that was written is not whole
    mutable std::mutex mutex;  // all below
    std::condition_variable filled, settled;
    std::deque<Line> lines;
    size_t writing = 0;  // lines of the batch under way
    bool stuck = false, stopping = false, finished = false;
    base::log::Stats stats;

    // Stuck with nothing under way: the next line tries again.
    [[nodiscard]] bool refuses() const { return stopping || lines.size() >= kMaxLines || (stuck && (writing > 0 || !lines.empty())); }

    base::Result<void> wait_for(std::string text) {
        std::unique_lock lock(mutex);
        if (refuses()) {
            ++stats.dropped;
            return base::Error{base::Errc::Unavailable, 0, "audit log", "it is stuck"};
        }
        const auto fate = std::make_shared<Fate>(Fate::Waiting);
        lines.push_back({std::move(text), fate});
        filled.notify_one();
        settled.wait_for(lock, kPatience, [&] { return *fate != Fate::Waiting; });
        if (*fate == Fate::Written) return {};
        if (*fate == Fate::Waiting) {
            *fate = Fate::Withdrawn;
            stuck = true;
            ++stats.dropped;
        }
        return base::Error{base::Errc::Unavailable, 0, "audit log", "it takes no lines"};
    }

    void push(std::string text) {
        const std::lock_guard lock(mutex);
        if (stopping || lines.size() >= kMaxLines) {
            ++stats.dropped;
            return;
        }
        lines.push_back({std::move(text), nullptr});
        filled.notify_one();
    }

    // How many of the bytes the file took before it refused or was stuck.
    size_t write(std::string_view bytes) const {
        size_t done = 0;
        while (done < bytes.size()) {
            pollfd ready{fd.get(), POLLOUT, 0};
            const int n = ::poll(&ready, 1, static_cast<int>(kStuck.count()));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return done;
            const ssize_t taken = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
            if (taken < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (taken <= 0) return done;
            done += static_cast<size_t>(taken);
        }
        return done;
    }

    void write_batch(std::unique_lock<std::mutex>& lock) {
        std::vector<Line> batch;
        std::string bytes(torn ? "\n" : "");
        for (; batch.size() < kBatch && !lines.empty(); lines.pop_front())
            if (!lines.front().fate || *lines.front().fate == Fate::Waiting) {
                bytes += lines.front().text;
                batch.push_back(std::move(lines.front()));
            }
        writing = batch.size();
        lock.unlock();
        const size_t done = write(bytes);
        lock.lock();
        size_t end = torn ? 1 : 0;
        if (done > 0) torn = false;
        for (Line& line : batch) {
            if (done > end && done < end + line.text.size()) torn = true;
            end += line.text.size();
            const bool whole = done >= end;
            ++(whole ? stats.written : stats.failed);
            if (line.fate && *line.fate == Fate::Waiting) *line.fate = whole ? Fate::Written : Fate::Failed;
        }
        stuck = done < bytes.size();
        writing = 0;
        settled.notify_all();
    }

    void run() {
        std::unique_lock lock(mutex);
        while (true) {
            filled.wait(lock, [this] { return stopping || !lines.empty(); });
            if (lines.empty()) break;
            write_batch(lock);
            if (stopping && stuck) break;
        }
        finished = true;
        settled.notify_all();
    }
};

AuditLog::AuditLog(std::shared_ptr<Queue> queue, const base::Clock& clock) : queue_(std::move(queue)), clock_(clock) {}

base::Result<std::unique_ptr<AuditLog>> AuditLog::open(const std::string& path, const base::Clock& clock) {
    // Not blocking: a pipe that nobody reads must hold up neither the start nor the writer.
    constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    base::Fd file(path == "-" ? ::fcntl(1, F_DUPFD_CLOEXEC, 3) : ::open(path.c_str(), kFlags, 0600));
    if (!file) return base::os_error("audit log", path);
    std::unique_ptr<AuditLog> log(new AuditLog(std::make_shared<Queue>(std::move(file)), clock));
    sigset_t all, before;
    sigfillset(&all);  // a broken pipe is a failure that is counted, not a signal
    if (const int os = ::pthread_sigmask(SIG_SETMASK, &all, &before); os != 0) return base::os_error_of(os, "pthread_sigmask");
    int failed = 0;
    try {
        log->thread_ = std::thread([queue = log->queue_] { queue->run(); });
    } catch (const std::system_error& e) {
        failed = e.code().value();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failed != 0) return base::os_error_of(failed, "start the audit log's thread");
    return log;
}

AuditLog::~AuditLog() {
    if (!thread_.joinable()) return;
    bool finished = false;
    {
        std::unique_lock lock(queue_->mutex);
        queue_->stopping = true;
        queue_->filled.notify_all();
        finished = queue_->settled.wait_for(lock, kPatience, [this] { return queue_->finished; });
    }
    if (finished)
        thread_.join();
    else
        thread_.detach();
}

base::Result<void> AuditLog::record(const AuditEvent& event) { return queue_->wait_for(audit_line(event, clock_.wall())); }
void AuditLog::note(const AuditEvent& event) { queue_->push(audit_line(event, clock_.wall())); }

bool AuditLog::flush() {
    std::unique_lock lock(queue_->mutex);
    return queue_->settled.wait_for(lock, kFlush, [this] { return queue_->lines.empty() && queue_->writing == 0; });
}

base::log::Stats AuditLog::stats() const {
    const std::lock_guard lock(queue_->mutex);
    return queue_->stats;
}

}  // namespace warren::cluster
