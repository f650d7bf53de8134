// SPDX-License-Identifier: Apache-2.0
// What goes wrong with files for a while, also for root: no descriptor is left; a disk that is full.
#pragma once

#include "tests/catch.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace warren::tests {

class NoDescriptors {
  public:
    NoDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit none = before_;
        none.rlim_cur = 0;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

  private:
    rlimit before_{};
};

// A disk of so many names at a folder that is there; nothing at all where mounting is not allowed.
class SmallDisk {
  public:
    SmallDisk(std::string folder, unsigned names)
        : folder_(std::move(folder)),
          mounted_(::geteuid() == 0 && ::mount("none", folder_.c_str(), "tmpfs", 0, options(names).c_str()) == 0) {}
    ~SmallDisk() {
        if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    [[nodiscard]] bool mounted() const { return mounted_; }
    void grow() const { REQUIRE(::mount("none", folder_.c_str(), "tmpfs", MS_REMOUNT, options(1'000).c_str()) == 0); }

  private:
    static std::string options(unsigned names) { return "mode=0700,nr_inodes=" + std::to_string(names); }
    const std::string folder_;
    const bool mounted_;
};

}  // namespace warren::tests
