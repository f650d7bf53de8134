// SPDX-License-Identifier: Apache-2.0
#include "base/small_file.h"

#include "base/bytes.h"
#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace warren::base {

namespace {

constexpr size_t kLeast = 4096;  // what pipes and files of /proc, which tell no size, begin with

// A string that grows by itself would leave a copy of a secret behind.
void grow(std::string& content, size_t most) {
    std::string larger(std::min(content.size() * 2, most), '\0');
    std::copy(content.begin(), content.end(), larger.begin());
    base::wipe(content);
    content = std::move(larger);
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os_error("write", path);
        content.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, size_t max_bytes) {
    // Not blocking: a named pipe in the place of the file must not hold the thread.
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return os_error("open", path);
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) return os_error("fstat", path);
    // One byte more than there should be: a read of nothing then tells the end.
    std::string content(std::clamp<size_t>(static_cast<size_t>(st.st_size) + 1, std::min(kLeast, max_bytes + 1), max_bytes + 1), '\0');
    size_t size = 0;
    while (size <= max_bytes) {
        if (size == content.size()) grow(content, max_bytes + 1);
        const ssize_t n = ::read(fd.get(), content.data() + size, content.size() - size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            auto error = os_error("read", path);
            base::wipe(content);
            return error;
        }
        if (n == 0) break;
        size += static_cast<size_t>(n);
    }
    if (size > max_bytes) {
        base::wipe(content);
        return Error{Errc::Exhausted, 0, "read", path + " is larger than " + std::to_string(max_bytes) + " bytes"};
    }
    content.resize(size);
    return content;
}

Result<void> replace_small_file(const std::string& path, std::string_view content, unsigned mode) {
    std::string beside = path + ".XXXXXX";
    const Fd file(::mkostemp(beside.data(), O_CLOEXEC));
    if (!file) return os_error("create", beside);
    auto written = write_all(file.get(), content, beside);
    if (written && ::fchmod(file.get(), mode) != 0) written = os_error("chmod", beside);
    if (written && ::fsync(file.get()) != 0) written = os_error("fsync", beside);
    if (written && ::rename(beside.c_str(), path.c_str()) != 0) written = os_error("rename", path);
    if (!written) {
        ::unlink(beside.c_str());
        return written;
    }
    return sync_folder(folder_of(path));
}

Result<void> sync_folder(const std::string& path) {
    const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return os_error("open", path);
    if (::fsync(folder.get()) != 0) return os_error("fsync", path);
    return {};
}

}  // namespace warren::base
