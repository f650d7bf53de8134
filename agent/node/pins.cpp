// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pins.h"

#include "agent/node/typed_map.h"
#include "base/bytes.h"
#include "bpf/abi.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

namespace warren::node {

namespace {

// A pin that is being put in place of another; nothing else has this ending.
constexpr std::string_view kComing = "_new";
constexpr int kAttempts = 100;

bool is_bpffs(const std::string& path) {
    struct statfs fs{};
    return ::statfs(path.c_str(), &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

base::Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
    return base::os_error("mkdir", path);
}

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
    if (!dir) return names;
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

base::Result<void> check_instance(const std::string& instance) {
    const bool spelt = std::all_of(instance.begin(), instance.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (spelt && !instance.empty() && instance.size() <= 63) return {};
    return base::invalid("instance " + base::quoted(instance) + ": give 1 to 63 letters, digits and dashes");
}

// Nobody is captured from here on: what is removed afterwards, in whatever order, matters to nobody.
void release_pods(const Pins& pins) {
    auto fd = pins.get_map("wr_pods");
    if (!fd || !fd->valid()) return;
    const auto pods = TypedMap<wr_u64, wr_pod>::bind("wr_pods", fd->get());
    if (!pods) return;
    const auto rows = pods->rows();
    if (!rows) return;
    for (const auto& row : *rows) (void)pods->erase(row.first);
}

}  // namespace

base::Result<void> ensure_bpffs(const std::string& path) {
    if (is_bpffs(path)) return {};
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST && errno != EPERM) return base::os_error("mkdir", path);
    if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0) return {};
    return base::os_error("mount bpf", path + " is no bpf file system; mount it on the host (mount -t bpf bpf " + path +
                                           ") and give it to the agent's container, or give the agent CAP_SYS_ADMIN");
}

base::Result<Pins> Pins::open(const std::string& bpffs, const std::string& instance) {
    TRY(check_instance(instance));
    if (!is_bpffs(bpffs)) return base::Error{base::Errc::Unavailable, 0, "pins", bpffs + " is no bpf file system"};
    Pins pins(bpffs + "/warren/" + instance, instance);
    // Another instance that is uninstalled just now takes the parent away while it is empty.
    base::Result<void> made;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        TRY(make_directory(bpffs + "/warren"));
        made = make_directory(pins.root_);
        if (made || made.error().os != ENOENT) break;
    }
    TRY(std::move(made));
    for (const char* folder : {"/maps", "/links"}) {
        TRY(make_directory(pins.root_ + folder));
        // Left by an agent that died between pinning and renaming: the old name is still right.
        for (const std::string& name : names_in(pins.root_ + folder))
            if (name.ends_with(kComing)) ::unlink((pins.root_ + folder + "/" + name).c_str());
    }
    return pins;
}

base::Result<base::Fd> Pins::get(const std::string& path) {
    base::Fd fd(::bpf_obj_get(path.c_str()));
    if (fd) return fd;
    if (errno == ENOENT) return base::Fd();
    return base::os_error("open pin", path);
}

base::Result<void> Pins::put(const std::string& path, int fd) {
    const std::string coming = path + std::string(kComing);
    if (::bpf_obj_pin(fd, coming.c_str()) != 0) return base::os_error("pin", path);
    if (::rename(coming.c_str(), path.c_str()) == 0) return {};
    base::Error error = base::os_error("pin", path);
    ::unlink(coming.c_str());
    return error;
}

void Pins::unpin_link(std::string_view name) const { ::unlink(link_path(name).c_str()); }
bool Pins::has_map(std::string_view name) const { return ::access(map_path(name).c_str(), F_OK) == 0; }
bool Pins::has_link(std::string_view name) const { return ::access(link_path(name).c_str(), F_OK) == 0; }
std::vector<std::string> Pins::links() const { return names_in(root_ + "/links"); }
std::vector<std::string> Pins::maps() const { return names_in(root_ + "/maps"); }

base::Result<void> Pins::uninstall(const std::string& bpffs, const std::string& instance) {
    TRY(check_instance(instance));
    const Pins pins(bpffs + "/warren/" + instance, instance);
    if (::access(pins.root_.c_str(), F_OK) != 0) return {};
    release_pods(pins);
    std::string left;
    const auto remove = [&left](const std::string& path, int (*how)(const char*)) {
        if (how(path.c_str()) != 0 && errno != ENOENT) left += (left.empty() ? "" : "; ") + base::os_error("remove", path).message();
    };
    for (const std::string& name : pins.links()) {
        // Detached, not only unpinned: an agent that still runs holds it open.
        if (const auto link = pins.get_link(name); link && link->valid()) (void)::bpf_link_detach(link->get());
        remove(pins.link_path(name), ::unlink);
    }
    for (const std::string& name : pins.maps()) remove(pins.map_path(name), ::unlink);
    for (const std::string& folder : {pins.root_ + "/links", pins.root_ + "/maps", pins.root_}) remove(folder, ::rmdir);
    ::rmdir((bpffs + "/warren").c_str());  // stays when another instance is there
    if (left.empty()) return {};
    return base::Error{base::Errc::Internal, 0, "uninstall", "left behind: " + left};
}

}  // namespace warren::node
