// SPDX-License-Identifier: Apache-2.0
// MeshFile: the mesh from a local file (LOCAL_XDS_PATH, data-plane contract 10.3) or from inline text (LOCAL_XDS). Unlike the reference it
// is watched: an edited file is in force within a fraction of a second, and one that does not read leaves the last good state, with an
// error that names file, line and fix. Loads on the caller's thread first, then on the watcher's; the feed outlives it.
#pragma once

#include "base/file_watch.h"
#include "base/result.h"
#include "policy/mesh_feed.h"
#include "policy/snapshot.h"

#include <memory>
#include <mutex>
#include <string>

namespace warren::ztunnel {

class MeshFile {
  public:
    // An error: the first read failed; a proxy that starts on a broken file would refuse everybody for no reason that can be seen.
    // alone: the file is the only source of the mesh.
    static base::Result<std::unique_ptr<MeshFile>> start(std::string path, base::FileWatcher& watcher, policy::MeshFeed& feed, bool alone);
    static base::Result<void> load_text(const std::string& text, const std::string& name, policy::MeshFeed& feed);

    // What the file says, for config_dump's staticConfig.
    [[nodiscard]] std::shared_ptr<const policy::Snapshot> mesh() const;
    [[nodiscard]] uint64_t loads() const;
    [[nodiscard]] uint64_t failures() const;

  private:
    MeshFile(std::string path, policy::MeshFeed& feed, bool alone) : path_(std::move(path)), feed_(feed), alone_(alone) {}
    base::Result<void> load();

    const std::string path_;
    policy::MeshFeed& feed_;
    const bool alone_;
    std::mutex load_mutex_;
    mutable std::mutex mutex_;  // of the counts and the mesh
    std::shared_ptr<const policy::Snapshot> mesh_;
    uint64_t loads_ = 0, failures_ = 0;
    base::FileWatcher::Watch watch_;  // last, so that it ends first
};

}  // namespace warren::ztunnel
