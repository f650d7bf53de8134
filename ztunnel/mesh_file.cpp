// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/mesh_file.h"

#include "base/log.h"
#include "policy/mesh_yaml.h"

#include <cerrno>
#include <fstream>
#include <iterator>

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("state");

base::Result<std::string> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return base::os_error("open", path);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    if (in.bad()) return base::os_error("read", path);
    return text;
}

}  // namespace

base::Result<void> MeshFile::load_text(const std::string& text, const std::string& name, policy::MeshFeed& feed) {
    return feed.replace([&](policy::TextPool& pool) { return policy::mesh_from_yaml(text, name, pool); });
}

base::Result<std::unique_ptr<MeshFile>> MeshFile::start(std::string path, base::FileWatcher& watcher, policy::MeshFeed& feed, bool alone) {
    std::unique_ptr<MeshFile> file(new MeshFile(std::move(path), feed, alone));
    // Watched before it is read: a change in between is not lost.
    file->watch_ = TRY(watcher.watch(file->path_, [f = file.get()] {
        if (auto loaded = f->load(); !loaded)
            WARREN_LOG(kLog, base::log::Level::Error, "the mesh file does not read; the last good state stays in force",
                       {"error", loaded.error().message()});
    }));
    TRY(file->load());
    return file;
}

base::Result<void> MeshFile::load() {
    // The watcher may see a change while the first load is under way, and the pool of names has one writer.
    const std::lock_guard one_at_a_time(load_mutex_);
    policy::Mesh own;  // beside another source, what is the file's shows only in a mesh of its own
    auto done = [&]() -> base::Result<void> {
        const std::string text = TRY(read_file(path_));
        return feed_.replace([&](policy::TextPool& pool) -> base::Result<policy::Batch> {
            policy::Batch batch = TRY(policy::mesh_from_yaml(text, path_, pool));
            if (!alone_) own.apply(batch);
            return batch;
        });
    }();
    const std::lock_guard lock(mutex_);
    if (!done) {
        ++failures_;
        return done;
    }
    ++loads_;
    mesh_ = alone_ ? feed_.snapshot() : own.snapshot();
    WARREN_LOG(kLog, base::log::Level::Info, "mesh file loaded", {"path", path_}, {"workloads", mesh_->workload_count()},
               {"services", mesh_->service_count()}, {"policies", mesh_->policy_count()});
    return {};
}

std::shared_ptr<const policy::Snapshot> MeshFile::mesh() const {
    const std::lock_guard lock(mutex_);
    return mesh_;
}

uint64_t MeshFile::loads() const {
    const std::lock_guard lock(mutex_);
    return loads_;
}

uint64_t MeshFile::failures() const {
    const std::lock_guard lock(mutex_);
    return failures_;
}

}  // namespace warren::ztunnel
