// SPDX-License-Identifier: Apache-2.0
// CrlWatcher: keeps the revocation list of CRL_PATH in force (data-plane contract 4.4). A file that is missing at the start is read when it
// comes; one that does not parse at the start turns revocation off, with a warning; later the list in force stays until a good one comes.
//
// start() reads on the calling thread; reloads and their publish calls are on the watcher's thread. The FileWatcher outlives this.
#pragma once

#include "base/file_watch.h"
#include "base/result.h"
#include "ztunnel/crl.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace warren::ztunnel {

class CrlWatcher {
  public:
    using Publish = std::function<void(std::shared_ptr<const RevocationList>)>;
    struct Stats {
        uint64_t loaded = 0;
        uint64_t malformed = 0;
        uint64_t unreadable = 0;  // missing among them
        bool disabled = false;
    };

    // Errors: those of the watch. A bad list is none, see above.
    static base::Result<std::unique_ptr<CrlWatcher>> start(base::FileWatcher& watcher, std::string path, Publish publish);
    [[nodiscard]] Stats stats() const;

  private:
    CrlWatcher(std::string path, Publish publish) : path_(std::move(path)), publish_(std::move(publish)) {}
    void load();

    const std::string path_;
    const Publish publish_;
    mutable std::mutex mutex_;
    Stats stats_;
    std::mutex loading_;              // one load at a time: the newest content is published last
    bool tried_ = false;              // under loading_
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

}  // namespace warren::ztunnel
