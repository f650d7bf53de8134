// SPDX-License-Identifier: Apache-2.0
#include "agent/node/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

namespace warren::node {

namespace {

constexpr int kFileIdKernfs = 0xfe;          // FILEID_KERNFS: the handle is the inode number (Linux 5.5)
constexpr size_t kMaxDirectories = 100'000;  // of a tree that is searched; a node has some thousands
constexpr size_t kMaxDepth = 32;

// Octal escapes of mountinfo: a space is \040.
std::string unescape(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size()) {
            out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
            i += 3;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

// The path behind "0::".
base::Result<std::string> unified_path(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/cgroup");
    if (!in)
        return base::Error{base::Errc::NotFound, 0, "cgroup", "process " + std::to_string(pid) + " has ended, or /proc is not the host's"};
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("0::")) return line.substr(3);
    return base::Error{base::Errc::Unsupported, 0, "cgroup", "process " + std::to_string(pid) + " is in no cgroup2; mount it on the host"};
}

std::vector<pid_t> members_at(int directory) {
    std::vector<pid_t> out;
    base::Fd fd(::openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC));
    if (!fd) return out;
    std::string text;
    std::array<char, 4096> piece{};
    for (ssize_t n = 0; (n = ::read(fd.get(), piece.data(), piece.size())) > 0;) text.append(piece.data(), static_cast<size_t>(n));
    std::istringstream in(text);
    for (pid_t pid = 0; in >> pid;) out.push_back(pid);
    return out;
}

// Depth first; a tree that changes meanwhile may hide the process, and then the caller says that it was not found.
struct Search {
    pid_t pid;
    size_t directories = 0;

    std::optional<std::string> look(const std::string& path, size_t depth) {
        const base::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd || ++directories > kMaxDirectories || depth > kMaxDepth) return std::nullopt;
        const std::vector<pid_t> members = members_at(fd.get());
        if (std::find(members.begin(), members.end(), pid) != members.end()) return path;
        const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
        if (!dir) return std::nullopt;
        while (const dirent* entry = ::readdir(dir.get())) {
            if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
            if (auto found = look(path + "/" + entry->d_name, depth + 1)) return found;
        }
        return std::nullopt;
    }
};

// How far below the root of the tree a mount is, as this process sees it: "/.." leads out of its own cgroup namespace, towards the root, as
// the host's tree does that is mounted into a container.
long depth_of(const std::string& root) {
    long depth = 0;
    std::istringstream parts(root);
    for (std::string part; std::getline(parts, part, '/');)
        if (!part.empty()) depth += part == ".." ? -1 : 1;
    return depth;
}

}  // namespace

base::Result<std::string> find_cgroup2(const std::string& mountinfo) {
    std::ifstream in(mountinfo);
    std::string best;
    long best_depth = 0;
    for (std::string line; std::getline(in, line);) {
        const size_t dash = line.find(" - cgroup2 ");
        if (dash == std::string::npos) continue;
        std::istringstream fields(line);
        std::string id, parent, device, root, mount;
        fields >> id >> parent >> device >> root >> mount;
        const long depth = depth_of(unescape(root));
        if (!best.empty() && depth >= best_depth) continue;
        best = unescape(mount);
        best_depth = depth;
    }
    if (!best.empty()) return best;
    return base::Error{
        base::Errc::NotFound, 0, "cgroup2",
        "no cgroup2 is mounted; mount one on the host (mount -t cgroup2 none /sys/fs/cgroup/unified on a hybrid host) and give "
        "/sys/fs/cgroup to the agent's container"};
}

base::Result<Cgroup> open_cgroup(const std::string& path) {
    Cgroup cgroup{.path = path};
    cgroup.fd = base::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.fd) return base::os_error("open cgroup", path);
    struct statfs fs{};
    if (::fstatfs(cgroup.fd.get(), &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC) return base::invalid(path + " is not in a cgroup2 tree");
    struct stat st{};
    if (::fstat(cgroup.fd.get(), &st) != 0) return base::os_error("stat", path);
    cgroup.id = st.st_ino;
    return cgroup;
}

base::Result<Cgroup> cgroup_of(pid_t pid, const std::string& root) {
    std::string path = TRY(unified_path(pid));
    if (path.ends_with(" (deleted)"))
        return base::Error{base::Errc::NotFound, 0, "cgroup", "that of process " + std::to_string(pid) + " was removed"};
    // "/.." leads out of this process's own cgroup namespace: names from there do not lead anywhere in the mount.
    if (!path.starts_with("/..")) {
        auto cgroup = open_cgroup(path == "/" ? root : root + path);
        if (cgroup) {
            const std::vector<pid_t> members = members_of(*cgroup);
            if (std::find(members.begin(), members.end(), pid) != members.end()) return cgroup;
        }
    }
    Search search{.pid = pid};
    if (const auto found = search.look(root, 0)) return open_cgroup(*found);
    return base::Error{
        base::Errc::NotFound, 0, "cgroup",
        "process " + std::to_string(pid) + " (" + path + ") is nowhere below " + root + "; mount the host's cgroup2 tree there"};
}

base::Result<Cgroup> cgroup_by_id(uint64_t id, const std::string& root) {
    const base::Fd mount(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!mount) return base::os_error("open cgroup", root);
    alignas(file_handle) std::array<std::byte, sizeof(file_handle) + sizeof id> space{};
    auto* handle = reinterpret_cast<file_handle*>(space.data());
    handle->handle_bytes = sizeof id;
    handle->handle_type = kFileIdKernfs;
    std::memcpy(handle->f_handle, &id, sizeof id);
    Cgroup cgroup{.path = {}, .id = id};
    cgroup.fd = base::Fd(::open_by_handle_at(mount.get(), handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.fd) {
        if (errno == ESTALE) return base::Error{base::Errc::NotFound, ESTALE, "cgroup", std::to_string(id) + " was removed"};
        return base::os_error("open cgroup", "by id " + std::to_string(id));
    }
    std::array<char, 4096> name{};
    const std::string link = "/proc/self/fd/" + std::to_string(cgroup.fd.get());
    const ssize_t n = ::readlink(link.c_str(), name.data(), name.size());
    if (n > 0) cgroup.path.assign(name.data(), static_cast<size_t>(n));
    return cgroup;
}

std::vector<pid_t> members_of(const Cgroup& cgroup) { return members_at(cgroup.fd.get()); }

}  // namespace warren::node
