// SPDX-License-Identifier: Apache-2.0
// Where an instance keeps what must outlive the agent: <bpffs>/warren/<instance>/maps/NAME and .../links/NAME. Pins of one instance
// only; other instances, and what is not ours, are never touched. Used by one thread (the one that starts, watches and uninstalls).
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

// Mounts a bpf file system there when there is none. Needs CAP_SYS_ADMIN.
base::Result<void> ensure_bpffs(const std::string& path);

class Pins {
  public:
    // Makes the folders, readable by root only: a pinned map is write access to the node's redirection.
    // instance: letters, digits and dashes, at most 63.
    static base::Result<Pins> open(const std::string& bpffs, const std::string& instance);

    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] const std::string& instance() const { return instance_; }
    [[nodiscard]] std::string map_path(std::string_view name) const { return root_ + "/maps/" + std::string(name); }
    [[nodiscard]] std::string link_path(std::string_view name) const { return root_ + "/links/" + std::string(name); }

    // Nothing there: an Fd that is not valid.
    [[nodiscard]] base::Result<base::Fd> get_map(std::string_view name) const { return get(map_path(name)); }
    [[nodiscard]] base::Result<base::Fd> get_link(std::string_view name) const { return get(link_path(name)); }
    // Atomic: whatever had the name before is replaced, or stays.
    [[nodiscard]] base::Result<void> pin_map(std::string_view name, int fd) const { return put(map_path(name), fd); }
    [[nodiscard]] base::Result<void> pin_link(std::string_view name, int fd) const { return put(link_path(name), fd); }
    void unpin_link(std::string_view name) const;
    [[nodiscard]] bool has_map(std::string_view name) const;
    [[nodiscard]] bool has_link(std::string_view name) const;
    [[nodiscard]] std::vector<std::string> links() const;
    [[nodiscard]] std::vector<std::string> maps() const;

    // Detaches every link, removes every pin and the folders. Pods first, so that at no moment a pod is half captured. What could not be
    // removed is named in the error; the rest is gone. Nothing there is no error.
    static base::Result<void> uninstall(const std::string& bpffs, const std::string& instance);

  private:
    Pins(std::string root, std::string instance) : root_(std::move(root)), instance_(std::move(instance)) {}
    static base::Result<base::Fd> get(const std::string& path);
    static base::Result<void> put(const std::string& path, int fd);

    std::string root_, instance_;
};

}  // namespace warren::node
