// SPDX-License-Identifier: Apache-2.0
// WatchedRoots: the roots of the certificate service (CA_ROOT_CA, data-plane contract 2.6) with a mark that says they may have changed
// since the last load(). Only those of a file ever do. Any thread; load() blocks on a small file.
#pragma once

#include "agent/xds/auth_source.h"
#include "base/file_watch.h"
#include "base/result.h"

#include <atomic>
#include <memory>
#include <string>

namespace warren::ztunnel {

class WatchedRoots {
  public:
    // setting: the value of CA_ROOT_CA: an existing file, SYSTEM, else PEM text. watcher null: not watched.
    [[nodiscard]] static base::Result<std::unique_ptr<WatchedRoots>> from_setting(const std::string& setting, base::FileWatcher* watcher);
    WatchedRoots(const WatchedRoots&) = delete;
    WatchedRoots& operator=(const WatchedRoots&) = delete;

    // The certificates of it that can be read; none is an error.
    [[nodiscard]] base::Result<std::string> load() const;
    // Is it marked? Takes the mark away.
    [[nodiscard]] bool take_dirty() { return dirty_.exchange(false); }
    void make_dirty() { dirty_.store(true); }

  private:
    explicit WatchedRoots(xds::RootSource source) : source_(std::move(source)) {}
    const xds::RootSource source_;
    std::atomic<bool> dirty_ = false;
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

}  // namespace warren::ztunnel
