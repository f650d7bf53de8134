// SPDX-License-Identifier: Apache-2.0
// The folder of the controller's own files, a lock for its one writer, and a cheap look at whether a file is still the one that was read.
// Blocking; any thread. Errors name the path.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace warren::cluster {

// The folder with 0700, its parents must exist. An existing one is taken as it is, unless others may write to it: Denied.
[[nodiscard]] base::Result<void> make_private_folder(const std::string& path);

// Removes what a crash left of a replacement of folder/name: "name.XXXXXX". Only for who holds the lock of its writers, or is the only one.
void remove_temporaries(const std::string& folder, std::string_view name);

// Waits up to five seconds for an exclusive lock on the file, which is made when missing: one writer of a state folder at a time.
[[nodiscard]] base::Result<base::Fd> lock_file(const std::string& path);

// Of the file behind the links; all zero when there is none.
struct FileMark {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified_ns = 0, changed_ns = 0;
    bool operator==(const FileMark&) const = default;
};
[[nodiscard]] FileMark mark_of(const std::string& path);

}  // namespace warren::cluster
