// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace warren::tools {
namespace {

using base::Errc;
using base::Error;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxLine = size_t{16} << 20;
constexpr size_t kMaxError = 500;

struct Actions {
    posix_spawn_file_actions_t value;
    Actions() { posix_spawn_file_actions_init(&value); }
    ~Actions() { posix_spawn_file_actions_destroy(&value); }
};

base::Result<pid_t> spawn(const std::vector<std::string>& command, const posix_spawn_file_actions_t* actions) {
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t pid = 0;
    if (const int failed = ::posix_spawnp(&pid, argv[0], actions, nullptr, argv.data(), environ); failed != 0)
        return base::os_error_of(failed, "run", command[0]);
    return pid;
}

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

base::Result<Child> Child::start(const std::vector<std::string>& command, Stderr to) {
    base::FdPair pipe = TRY(base::make_pipe());
    base::Fd err;
    Actions actions;
    posix_spawn_file_actions_addopen(&actions.value, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions.value, pipe.second.get(), STDOUT_FILENO);
    if (to == Stderr::Kept) {
        err = base::Fd(::memfd_create("stderr", MFD_CLOEXEC));
        if (!err) return base::os_error("memfd_create");
        posix_spawn_file_actions_adddup2(&actions.value, err.get(), STDERR_FILENO);
    }
    const pid_t pid = TRY(spawn(command, &actions.value));
    return Child(command[0], pid, std::move(pipe.first), std::move(err));
}

Child::Child(Child&& o) noexcept
    : name_(std::move(o.name_)),
      pid_(std::exchange(o.pid_, -1)),
      out_(std::move(o.out_)),
      err_(std::move(o.err_)),
      buffer_(std::move(o.buffer_)),
      ended_(o.ended_) {}

Child::~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);  // what it holds are connections of its own
    (void)wait_for(pid_);
}

base::Result<std::optional<std::string>> Child::line(std::optional<Clock::time_point> deadline) {
    for (;;) {
        if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
            std::optional<std::string> out = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return out;
        }
        if (ended_) return buffer_.empty() ? std::nullopt : std::optional(std::exchange(buffer_, {}));
        if (buffer_.size() > kMaxLine) return Error{Errc::Exhausted, 0, "", name_ + " wrote a line of more than 16 MiB"};
        int left = -1;
        if (deadline)
            left = static_cast<int>(std::max<int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count()));
        pollfd p{out_.get(), POLLIN, 0};
        const int ready = ::poll(&p, 1, left);
        if (ready < 0 && errno != EINTR) return base::os_error("poll");
        if (ready == 0) return Error{Errc::Timeout, 0, "", name_ + " said nothing within its time"};
        if (ready < 0) continue;
        char chunk[64 * 1024];
        const ssize_t n = ::read(out_.get(), chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) ended_ = true;
        if (n > 0) buffer_.append(chunk, static_cast<size_t>(n));
    }
}

base::Result<void> Child::wait() {
    const int code = wait_for(std::exchange(pid_, -1));
    if (code == 0) return {};
    const std::string why = error();
    return Error{Errc::Unavailable, 0, "", name_ + (why.empty() ? " ended with code " + std::to_string(code) : ": " + why)};
}

std::string Child::error() const {
    if (!err_) return "";
    std::string text(kMaxError, '\0');
    const ssize_t n = ::pread(err_.get(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return text.substr(0, text.find('\n'));
}

base::Result<int> run_attached(const std::vector<std::string>& command) { return wait_for(TRY(spawn(command, nullptr))); }

}  // namespace warren::tools
