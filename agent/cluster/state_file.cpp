// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

namespace warren::cluster {

namespace {

constexpr std::chrono::seconds kLockPatience{5};
constexpr std::chrono::milliseconds kLockPause{20};

// mkostemp's six characters. A word or a date of six, such as "backup", is somebody's own copy: better to leave one in two hundred of ours.
bool random_suffix(std::string_view text) {
    const auto count = [&](char first, char last) {
        return std::count_if(text.begin(), text.end(), [&](char c) { return c >= first && c <= last; });
    };
    const auto digits = count('0', '9'), lower = count('a', 'z'), upper = count('A', 'Z');
    return text.size() == 6 && digits + lower + upper == 6 && digits < 6 && lower < 6 && upper < 6;
}

}  // namespace

base::Result<void> make_private_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::os_error("mkdir", path);
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return base::os_error("stat", path);
    if (!S_ISDIR(info.st_mode)) return base::invalid(path + " is not a folder");
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return base::Error{base::Errc::Denied, 0, "", path + " can be written by others; chmod 0700 it"};
    return {};
}

void remove_temporaries(const std::string& folder, std::string_view name) {
    std::error_code error;
    std::vector<std::filesystem::path> found;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        const std::string entry = it->path().filename().string();
        const bool ours = entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '.';
        if (ours && random_suffix(std::string_view(entry).substr(name.size() + 1)) && it->is_regular_file(error))
            found.push_back(it->path());
    }
    for (const auto& path : found) std::filesystem::remove(path, error);
}

base::Result<base::Fd> lock_file(const std::string& path) {
    base::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return base::os_error("open", path);
    const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return base::os_error("lock", path);
        if (std::chrono::steady_clock::now() >= deadline)
            return base::Error{base::Errc::Timeout, 0, "lock", path + " is held by another process"};
        std::this_thread::sleep_for(kLockPause);
    }
    return file;
}

FileMark mark_of(const std::string& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return {};
    const auto ns = [](const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
    return {info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size), ns(info.st_mtim), ns(info.st_ctim)};
}

}  // namespace warren::cluster
