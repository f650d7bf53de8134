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

base::Result<void> MeshFile::load_text(const std::string& text, const std::string& name, Proxy& proxy) {
    proxy.replace(TRY(policy::mesh_from_yaml(text, name, proxy.pool())));
    return {};
}

base::Result<std::unique_ptr<MeshFile>> MeshFile::start(std::string path, base::FileWatcher& watcher, Proxy& proxy) {
    std::unique_ptr<MeshFile> file(new MeshFile(std::move(path), proxy));
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
    auto done = [&]() -> base::Result<void> { return load_text(TRY(read_file(path_)), path_, proxy_); }();
    const std::lock_guard lock(mutex_);
    if (!done) {
        ++failures_;
        return done;
    }
    ++loads_;
    mesh_ = proxy_.snapshot();
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
