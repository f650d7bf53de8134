// SPDX-License-Identifier: Apache-2.0
// MeshFeed: the one writer of the mesh, for its two sources: a local file and the control plane (data-plane contract 10.3: both may be
// there, the file's contents are added). Each change is one snapshot. A record belongs to whoever gave it: what the control plane gives
// replaces the file's record of that name, a file that is edited afterwards does not take it back, and neither removes what is the other's.
//
// update() and replace() may be called from any thread, one at a time goes on; what they call runs under the feed's lock and must not call
// the feed. snapshot() is for any thread at any time.
#pragma once

#include "base/result.h"
#include "policy/snapshot.h"

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace warren::policy {

class MeshFeed {
  public:
    struct Readers {
        std::function<void(const Batch&)> on_batch;                        // before it is applied
        std::function<void(std::shared_ptr<const Snapshot>)> on_snapshot;  // after; also where nothing changed
    };
    using Make = std::function<Batch(const Snapshot& now)>;
    using Read = std::function<base::Result<Batch>(TextPool& pool)>;

    explicit MeshFeed(Readers readers, std::string_view own_node = {})  // of the mesh, see Mesh
        : readers_(std::move(readers)), mesh_(own_node), snapshot_(mesh_.snapshot()) {}

    // The control plane's: one response.
    void update(const Make& make);
    // The file's, all of it: what an earlier one had and this one lacks is removed. An error of read() changes nothing.
    base::Result<void> replace(const Read& read);

    [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const {
        const std::lock_guard lock(snapshot_mutex_);
        return snapshot_;
    }
    // For converters that run inside update().
    [[nodiscard]] RecordPool& pool() { return mesh_.pool(); }

  private:
    using Names = std::set<std::string, std::less<>>;
    void apply(Batch batch);

    const Readers readers_;
    std::mutex mutex_;  // all below
    Mesh mesh_;
    Names file_addresses_, file_policies_;  // what is the file's
    mutable std::mutex snapshot_mutex_;     // GCC 12's atomic shared_ptr is a lock too, one that the thread sanitizer cannot see
    std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace warren::policy
