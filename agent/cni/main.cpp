// SPDX-License-Identifier: Apache-2.0
// warren-cni: called by the container runtime for each pod's network (agent/cni/plugin.h). Standard output carries the protocol and
// nothing else.
#include "agent/cni/plugin.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

// Bounded: one byte beyond what is accepted is enough to refuse it.
std::string read_all(int fd) {
    std::string text;
    std::array<char, 65536> piece{};
    while (text.size() <= warren::cni::kMaxConfig) {
        const ssize_t n = ::read(fd, piece.data(), piece.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        text.append(piece.data(), static_cast<size_t>(n));
    }
    return text;
}

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
}

}  // namespace

int main() {
    const char* command = std::getenv("CNI_COMMAND");
    const bool version = command != nullptr && std::string_view(command) == "VERSION";
    const auto outcome =
        warren::cni::run_plugin([](const char* name) { return std::getenv(name); }, version ? std::string() : read_all(STDIN_FILENO));
    if (!outcome.remark.empty()) (void)write_all(STDERR_FILENO, outcome.remark + "\n");
    return write_all(STDOUT_FILENO, outcome.output) ? outcome.exit_code : 1;
}
