// SPDX-License-Identifier: Apache-2.0
// FileWatcher: tells when a file has new content, once a burst of changes is over (data-plane contract 2.6, 4.4: 2 s). For roots, tokens,
// revocation lists, workload certificates and local mesh files. Watches the directory with inotify(7), so a file that is replaced by a
// rename, appears later, or is a link into a directory that Kubernetes swaps ("..data") is seen; looks at all files every half minute
// besides, for what inotify cannot see (a link out of the directory, a directory that comes later, network file systems).
//
// One thread, on which callbacks run, one at a time; they may block it for a read, and may end their own watch. watch() and the end of a
// Watch are for any thread; the end waits for a callback that is running. The watcher outlives its watches. Errors: inotify's, and
// Exhausted.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace warren::base {

class FileWatcher {
  public:
    struct Options {
        std::chrono::milliseconds settle =
            std::chrono::seconds(2);                                // of quiet after the last change, five times that under constant change
        std::chrono::milliseconds look = std::chrono::seconds(30);  // between looks at all files
        size_t max_files = 64;
    };
    using Callback = std::function<void()>;

    class Watch {
      public:
        Watch() = default;
        Watch(Watch&& other) noexcept : watcher_(std::exchange(other.watcher_, nullptr)), id_(other.id_) {}
        Watch& operator=(Watch&& other) noexcept;
        ~Watch() { end(); }
        void end();

      private:
        friend class FileWatcher;
        Watch(FileWatcher& watcher, uint64_t id) : watcher_(&watcher), id_(id) {}
        FileWatcher* watcher_ = nullptr;
        uint64_t id_ = 0;
    };

    static Result<std::unique_ptr<FileWatcher>> create(Options options);
    static Result<std::unique_ptr<FileWatcher>> create() { return create(Options{}); }
    ~FileWatcher();
    FileWatcher(const FileWatcher&) = delete;
    FileWatcher& operator=(const FileWatcher&) = delete;

    // From now on: what the caller reads after this call, it is told of the next change to. The file need not exist, nor its directory.
    [[nodiscard]] Result<Watch> watch(const std::string& path, Callback on_change);
    [[nodiscard]] uint64_t changes() const;  // callbacks made

  private:
    using Time = std::chrono::steady_clock::time_point;
    struct Fingerprint {  // of the file behind the links; all zero: there is none
        uint64_t device = 0, inode = 0, size = 0;
        int64_t modified_ns = 0, changed_ns = 0;
        friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
    };
    struct File {
        std::string path, directory, name;
        Callback on_change;
        int inotify = -1;  // watch descriptor of the directory, shared by files of the same one; -1: could not be watched
        Fingerprint seen;
        bool touched = false;             // by name: has changed even if it looks the same
        std::optional<Time> first_event;  // of the burst
        Time fire_at;
    };

    FileWatcher(Fd inotify, Fd wake, Options options);
    static Fingerprint fingerprint(const std::string& path);
    void run();
    void attach(File& file);
    void unwatch(uint64_t id);
    void read_events(Time now);
    void note(File& file, bool by_name, Time now);
    void look_at_all(Time now);
    void fire_due(std::unique_lock<std::mutex>& lock, Time now);
    [[nodiscard]] int timeout_ms(Time now) const;
    void wake();

    const Options options_;
    const Fd inotify_, wake_;
    mutable std::mutex mutex_;
    std::condition_variable callback_ended_;
    std::map<uint64_t, File> files_;
    uint64_t last_id_ = 0;
    uint64_t running_ = 0;  // whose callback runs
    uint64_t changes_ = 0;
    Time next_look_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace warren::base
