// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/file_source.h"

#include "agent/cluster/object_folder.h"
#include "base/fd.h"
#include "base/log.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

namespace warren::cluster {

namespace {

using base::MonoTime;
using base::log::Level;
using std::chrono::milliseconds;

const base::log::Area kLog("files");

constexpr size_t kMaxErrors = 200;
constexpr milliseconds kAgain{100};      // while something is on its way in or out
constexpr milliseconds kTroubled{1000};  // while the folder cannot be listed
constexpr uint32_t kEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

}  // namespace

struct FileSource::Impl {
    Impl(FileSourceOptions o, const base::Clock& c, base::Fd i, base::Fd w)
        : options(std::move(o)), clock(c), inotify(std::move(i)), wake(std::move(w)), folder(options.folder, clock) {}

    void run();
    void attach();
    void take_events();
    void note(const inotify_event& event, std::string_view name);
    void look();
    void publish_status(const std::string& trouble);
    void tell(const std::string& trouble);
    [[nodiscard]] int timeout_ms() const;

    const FileSourceOptions options;
    const base::Clock& clock;
    const base::Fd inotify, wake;
    SourceHandler* handler = nullptr;
    std::thread thread;
    std::atomic<bool> stopping{false};

    // Of the thread.
    ObjectFolder folder;
    ObjectFolder::Touched touched;
    int watch = -1;
    MonoTime next_look{};  // whatever happens
    std::optional<MonoTime> first_event, last_event;
    bool delivered = false;
    std::string told;  // trouble, as logged last
    std::map<std::string, std::string> told_of;

    mutable std::mutex mutex;  // below
    SourceStatus status;
};

void FileSource::Impl::attach() {
    watch = ::inotify_add_watch(inotify.get(), options.folder.c_str(), kEvents);  // the same number when it is watched already
}

void FileSource::Impl::note(const inotify_event& event, std::string_view name) {
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) {
        if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify.get(), event.wd);
        touched.all = true;  // another folder may stand there now
    } else if ((event.mask & IN_Q_OVERFLOW) != 0 || name.starts_with("..")) {
        touched.all = true;  // "..data": Kubernetes swaps a whole mounted ConfigMap by this link
    } else if (name.empty() || name[0] == '.') {
        return;
    } else if ((event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0 && touched.names.size() < ObjectFolder::kMaxFiles) {
        touched.names.emplace(name);
    }
    last_event = clock.now();
    if (!first_event) first_event = last_event;
}

void FileSource::Impl::take_events() {
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    for (;;) {
        const ssize_t n = ::read(inotify.get(), buffer.data(), buffer.size());
        if (n <= 0) return;
        for (size_t at = 0; at + sizeof(inotify_event) <= static_cast<size_t>(n);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            const char* name = buffer.data() + at + sizeof event;
            note(event, event.len == 0 ? std::string_view() : std::string_view(name, ::strnlen(name, event.len)));
            at += sizeof event + event.len;
        }
    }
}

int FileSource::Impl::timeout_ms() const {
    MonoTime at = next_look;
    if (first_event) at = std::min({at, *last_event + options.settle, *first_event + options.settle_most});
    const auto left = std::chrono::ceil<milliseconds>(at - clock.now()).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

// One line when a file's state changes, not one at every look.
void FileSource::Impl::tell(const std::string& trouble) {
    if (trouble != told) {
        if (!trouble.empty())
            WARREN_LOG(kLog, Level::Error, "the folder cannot be read; what it said last stays in force", {"error", trouble});
        told = trouble;
    }
    std::map<std::string, std::string> now;
    for (const auto& [name, file] : folder.files())
        if (file.error_count != 0) now.emplace(name, file.errors.front());
    for (const auto& [name, error] : now)
        if (const auto before = told_of.find(name); before == told_of.end() || before->second != error)
            WARREN_LOG(kLog, Level::Error, "a file is refused as a whole; what it said last stays in force", {"file", name},
                       {"error", error});
    told_of = std::move(now);
}

void FileSource::Impl::publish_status(const std::string& trouble) {
    SourceStatus next;
    next.synced = delivered;
    if (!trouble.empty()) {
        next.errors.push_back(trouble);
        next.error_count = 1;
    }
    size_t in_force = 0, refused = 0;
    for (const auto& [name, file] : folder.files()) {
        next.error_count += file.error_count;
        for (const std::string& error : file.errors)
            if (next.errors.size() < kMaxErrors) next.errors.push_back(error);
        in_force += file.in_force ? 1 : 0;
        refused += file.error_count != 0 ? 1 : 0;
    }
    for (size_t kind = 0; kind < kObjectKinds; ++kind)
        if (const size_t n = folder.store().count(static_cast<ObjectKind>(kind)); n != 0)
            next.objects.emplace(to_string(static_cast<ObjectKind>(kind)), n);
    next.counters = {{"files", folder.files().size()},
                     {"files_in_force", in_force},
                     {"files_refused", refused},
                     {"reads", folder.reads()},
                     {"refusals", folder.refusals()}};
    const std::lock_guard lock(mutex);
    next.deliveries = status.deliveries;
    status = std::move(next);
}

void FileSource::Impl::look() {
    first_event.reset();
    last_event.reset();
    attach();  // before looking: what changes from here on is told
    auto scan = folder.scan(touched);
    const std::string trouble = scan ? std::string() : scan.error().message();
    // A folder that could not be listed is looked at in whole once it can.
    touched = {{}, !scan};
    next_look = clock.now() + (!scan || watch < 0 ? kTroubled : scan->unsettled ? kAgain : options.look);
    tell(trouble);
    const bool first = !delivered && scan && folder.complete();
    const bool deliver = scan && (first || (delivered && scan->changed));
    delivered = delivered || first;
    publish_status(trouble);
    if (!deliver) return;
    handler->changed(folder.store().objects(), first ? std::vector<Change>() : scan->changes);
    const std::lock_guard lock(mutex);
    ++status.deliveries;
}

void FileSource::Impl::run() {
    touched.all = true;
    look();
    while (!stopping) {
        pollfd fds[2] = {{inotify.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
        if (::poll(fds, 2, timeout_ms()) < 0) continue;  // EINTR
        if (stopping) return;
        take_events();
        if (timeout_ms() == 0) look();
    }
}

FileSource::FileSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

FileSource::~FileSource() { stop(); }

base::Result<std::unique_ptr<FileSource>> FileSource::create(FileSourceOptions options, const base::Clock& clock) {
    if (options.folder.empty()) return base::invalid("the folder of the mesh's files is not set");
    base::Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify) return base::os_error("inotify_init1");
    base::Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!wake) return base::os_error("eventfd");
    return std::unique_ptr<FileSource>(
        new FileSource(std::make_unique<Impl>(std::move(options), clock, std::move(inotify), std::move(wake))));
}

void FileSource::start(SourceHandler& handler) {
    impl_->handler = &handler;
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void FileSource::stop() {
    if (!impl_->thread.joinable()) return;
    impl_->stopping = true;
    (void)::eventfd_write(impl_->wake.get(), 1);
    impl_->thread.join();
}

SourceStatus FileSource::status() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->status;
}

}  // namespace warren::cluster
