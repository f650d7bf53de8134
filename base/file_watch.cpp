// SPDX-License-Identifier: Apache-2.0
#include "base/file_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::base {

namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                             IN_MOVE_SELF | IN_ONLYDIR;
constexpr int kMostSettles = 5;

int64_t ns_of(const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

}  // namespace

FileWatcher::Watch& FileWatcher::Watch::operator=(Watch&& other) noexcept {
    if (this != &other) {
        end();
        watcher_ = std::exchange(other.watcher_, nullptr);
        id_ = other.id_;
    }
    return *this;
}

void FileWatcher::Watch::end() {
    if (FileWatcher* watcher = std::exchange(watcher_, nullptr)) watcher->unwatch(id_);
}

Result<std::unique_ptr<FileWatcher>> FileWatcher::create(Options options) {
    Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify) return os_error("inotify_init1", "raise fs.inotify.max_user_instances if it is the limit");
    Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!wake) return os_error("eventfd");
    return std::unique_ptr<FileWatcher>(new FileWatcher(std::move(inotify), std::move(wake), options));
}

FileWatcher::FileWatcher(Fd inotify, Fd wake, Options options)
    : options_(options),
      inotify_(std::move(inotify)),
      wake_(std::move(wake)),
      next_look_(std::chrono::steady_clock::now() + options.look),
      thread_([this] { run(); }) {}

FileWatcher::~FileWatcher() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake();
    thread_.join();
}

void FileWatcher::wake() {
    const uint64_t one = 1;
    // It fails only when the counter is full, and then the thread is awake anyway.
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

FileWatcher::Fingerprint FileWatcher::fingerprint(const std::string& path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return {};
    return {st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), ns_of(st.st_mtim), ns_of(st.st_ctim)};
}

Result<FileWatcher::Watch> FileWatcher::watch(const std::string& path, Callback on_change) {
    if (path.empty() || path.back() == '/') return invalid("path of a file to watch: '" + path + "' names no file");
    File file;
    const size_t slash = path.rfind('/');
    file.path = path;
    file.directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    file.name = slash == std::string::npos ? path : path.substr(slash + 1);
    file.on_change = std::move(on_change);
    uint64_t id = 0;
    {
        const std::lock_guard lock(mutex_);
        if (files_.size() >= options_.max_files)
            return Error{Errc::Exhausted, 0, "watch", path + ": " + std::to_string(files_.size()) + " files are watched already"};
        attach(file);
        file.seen = fingerprint(path);
        id = ++last_id_;
        files_.emplace(id, std::move(file));
    }
    return Watch(*this, id);
}

// A directory that cannot be watched now may be there at the next look.
void FileWatcher::attach(File& file) { file.inotify = ::inotify_add_watch(inotify_.get(), file.directory.c_str(), kEvents); }

void FileWatcher::unwatch(uint64_t id) {
    std::unique_lock lock(mutex_);
    const auto it = files_.find(id);
    if (it == files_.end()) return;
    const int descriptor = it->second.inotify;
    // The callback dies after the lock is released: what it owns may end other watches.
    const Callback dead = std::move(it->second.on_change);
    files_.erase(it);
    const bool shared = std::any_of(files_.begin(), files_.end(), [&](const auto& f) { return f.second.inotify == descriptor; });
    if (descriptor >= 0 && !shared) ::inotify_rm_watch(inotify_.get(), descriptor);
    if (std::this_thread::get_id() != thread_.get_id()) callback_ended_.wait(lock, [&] { return running_ != id; });
    lock.unlock();
}

uint64_t FileWatcher::changes() const {
    const std::lock_guard lock(mutex_);
    return changes_;
}

void FileWatcher::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const int timeout = timeout_ms(std::chrono::steady_clock::now());
        lock.unlock();
        pollfd fds[] = {{inotify_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
        ::poll(fds, 2, timeout);
        lock.lock();
        const Time now = std::chrono::steady_clock::now();
        read_events(now);
        if (now >= next_look_) look_at_all(now);
        fire_due(lock, now);
    }
}

int FileWatcher::timeout_ms(Time now) const {
    Time until = next_look_;
    for (const auto& [id, file] : files_)
        if (file.first_event) until = std::min(until, file.fire_at);
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    return static_cast<int>(std::clamp<int64_t>(wait, 0, INT_MAX));
}

void FileWatcher::read_events(Time now) {
    alignas(inotify_event) char buffer[16 * (sizeof(inotify_event) + NAME_MAX + 1)];
    ssize_t size = 0;
    while ((size = ::read(inotify_.get(), buffer, sizeof buffer)) > 0) {
        for (const char* at = buffer; at < buffer + size;) {
            inotify_event event{};
            std::memcpy(&event, at, sizeof event);
            const std::string_view name = event.len > 0 ? at + sizeof event : "";
            for (auto& [id, file] : files_) {
                // An overflow has no descriptor: anything may have happened.
                if (event.wd != file.inotify && (event.mask & IN_Q_OVERFLOW) == 0) continue;
                if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) attach(file);
                note(file, name == file.name, now);
            }
            at += sizeof event + event.len;
        }
    }
}

void FileWatcher::note(File& file, bool by_name, Time now) {
    if (!file.first_event) file.first_event = now;
    file.touched = file.touched || by_name;
    file.fire_at = std::min(now + options_.settle, *file.first_event + kMostSettles * options_.settle);
}

void FileWatcher::look_at_all(Time now) {
    next_look_ = now + options_.look;
    for (auto& [id, file] : files_) {
        attach(file);  // the same descriptor when it is watched already
        if (!file.first_event && fingerprint(file.path) != file.seen) note(file, false, now);
    }
}

void FileWatcher::fire_due(std::unique_lock<std::mutex>& lock, Time now) {
    std::vector<uint64_t> due;
    for (auto& [id, file] : files_) {
        if (!file.first_event || file.fire_at > now) continue;
        file.first_event.reset();
        const Fingerprint seen = fingerprint(file.path);
        const bool changed = std::exchange(file.touched, false) || seen != file.seen;
        file.seen = seen;
        if (changed) due.push_back(id);
    }
    for (const uint64_t id : due) {
        const auto it = files_.find(id);
        if (it == files_.end()) continue;
        const Callback call = it->second.on_change;
        running_ = id;
        ++changes_;
        lock.unlock();
        call();
        lock.lock();
        running_ = 0;
        callback_ended_.notify_all();
    }
}

}  // namespace warren::base
