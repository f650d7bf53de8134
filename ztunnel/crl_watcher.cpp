// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/crl_watcher.h"

#include "base/log.h"
#include "base/small_file.h"

namespace warren::ztunnel {

namespace {

using base::log::Level;

const base::log::Area kLog("crl");

// A list of a million revoked certificates is about 40 MiB.
constexpr size_t kMaxBytes = 64UL * 1024 * 1024;

}  // namespace

base::Result<std::unique_ptr<CrlWatcher>> CrlWatcher::start(base::FileWatcher& watcher, std::string path, Publish publish) {
    std::unique_ptr<CrlWatcher> self(new CrlWatcher(std::move(path), std::move(publish)));
    // Watched first, so that no change falls between.
    self->watch_ = TRY(watcher.watch(self->path_, [raw = self.get()] { raw->load(); }));
    self->load();
    return self;
}

CrlWatcher::Stats CrlWatcher::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

void CrlWatcher::load() {
    const std::lock_guard one_at_a_time(loading_);
    if (stats().disabled) return;
    const bool first = !std::exchange(tried_, true);
    auto file = base::read_small_file(path_, kMaxBytes);
    if (!file) {
        WARREN_LOG(kLog, Level::Warn, first ? "no revocation list yet" : "revocation list not reloaded; the one in force stays",
                   {"error", file.error().message()});
        const std::lock_guard lock(mutex_);
        ++stats_.unreadable;
        return;
    }
    auto list = RevocationList::parse(*file);
    if (!list) {
        WARREN_LOG(kLog, Level::Warn,
                   first ? "revocation is off: the list does not parse" : "revocation list not reloaded; the one in force stays",
                   {"path", path_}, {"error", list.error().message()});
        const std::lock_guard lock(mutex_);
        ++stats_.malformed;
        stats_.disabled = first;
        return;
    }
    WARREN_LOG(kLog, Level::Info, "revocation list loaded", {"path", path_}, {"lists", (*list)->lists()});
    {
        const std::lock_guard lock(mutex_);
        ++stats_.loaded;
    }
    publish_(std::move(*list));
}

}  // namespace warren::ztunnel
