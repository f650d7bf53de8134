// SPDX-License-Identifier: Apache-2.0
// ObjectFolder: the objects of all *.yaml and *.yml files of one folder. A file counts as a whole: one that does not read keeps what it
// said last in force, and says why not, until it is mended or removed. Two files may not have the same object; the one that came later is
// refused then. A folder that cannot be listed or that has no file at all changes nothing: more often that is a mount that is missing than
// a mesh that is meant to be empty (an empty file says that).
//
// Blocking, one thread. Memory: the objects once, and an index of their names; a file's text while it is read.
#pragma once

#include "agent/cluster/object_store.h"
#include "agent/cluster/state_file.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace warren::cluster {

class ObjectFolder {
  public:
    static constexpr size_t kMaxFiles = 10'000;
    static constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
    // Gone for less, a file is being replaced by an editor that removes it first; changed less long ago without having been closed, it is
    // being written.
    static constexpr std::chrono::milliseconds kGone{250}, kQuiet{1000};

    ObjectFolder(std::string path, const base::Clock& clock) : path_(std::move(path)), clock_(clock) {}

    struct Touched {
        std::set<std::string> names;  // files that were closed or moved here: they may be read at once
        bool all = false;
    };
    struct Scan {
        bool changed = false;         // the objects
        std::vector<Change> changes;  // which
        bool unsettled = false;       // look again soon: something is on its way in or out
    };
    // Looks at all files, reads those that changed. The error is the folder's.
    base::Result<Scan> scan(const Touched& touched);

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] const ObjectStore& store() const { return store_; }
    [[nodiscard]] bool complete() const;  // there is a file, and what every file says now or said before is in force

    struct File {
        FileMark mark;
        bool in_force = false;  // something it says or said
        bool conflict = false;  // refused for objects of other files: tried again when those change
        std::vector<std::string> errors;
        size_t error_count = 0;
        size_t objects = 0;
        base::WallTime read_at{};
        base::MonoTime missing_since{};
    };
    [[nodiscard]] const std::map<std::string, File>& files() const { return files_; }
    [[nodiscard]] uint64_t reads() const { return reads_; }
    [[nodiscard]] uint64_t refusals() const { return refusals_; }

  private:
    struct Candidate {
        Objects objects;
        bool accepted = true;
    };
    using Candidates = std::map<std::string, Candidate>;

    base::Result<std::map<std::string, FileMark>> list() const;
    void read(const std::string& name, File& file, Candidates& to, bool& unsettled);
    void refuse(File& file, std::vector<std::string> errors, size_t count);
    void resolve_conflicts(Candidates& candidates);
    bool find_conflict(Candidates& candidates);
    void forget(const std::set<std::string>& names);
    bool apply(Candidates& candidates);
    std::vector<Change> take_changes();

    const std::string path_;
    const base::Clock& clock_;
    std::map<std::string, File> files_;
    ObjectStore store_;
    std::unordered_map<std::string, std::string> owners_;         // kind and key of an object -> file
    std::map<std::pair<ObjectKind, std::string>, bool> changed_;  // of this scan: whether it is gone
    uint64_t reads_ = 0, refusals_ = 0;
    bool first_ = true;
};

}  // namespace warren::cluster
