// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/run_program.h"

#include "base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace warren::tools {
namespace {

using base::Errc;
using base::Error;
using Clock = std::chrono::steady_clock;

struct Actions {
    posix_spawn_file_actions_t value;
    Actions() { posix_spawn_file_actions_init(&value); }
    ~Actions() { posix_spawn_file_actions_destroy(&value); }
};

// Until its end of output; false: the deadline came first.
bool drain(int fd, Clock::time_point until, size_t max_bytes, std::string& out) {
    char buffer[16 * 1024];
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
        pollfd p{fd, POLLIN, 0};
        if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) == 0) return false;
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n <= 0) return true;
        out.append(buffer, std::min(static_cast<size_t>(n), max_bytes - std::min(out.size(), max_bytes)));
    }
}

}  // namespace

base::Result<std::string> run_program(const std::vector<std::string>& command, std::chrono::milliseconds deadline, size_t max_bytes) {
    base::FdPair pipe = TRY(base::make_pipe());
    Actions actions;
    posix_spawn_file_actions_addopen(&actions.value, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions.value, pipe.second.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions.value, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t pid = 0;
    const int failed = ::posix_spawnp(&pid, argv[0], &actions.value, nullptr, argv.data(), environ);
    pipe.second.reset();
    if (failed != 0) return base::os_error_of(failed, "run", command[0]);
    std::string out;
    const bool ended = drain(pipe.first.get(), Clock::now() + deadline, max_bytes, out);
    // One that closed its output and stays is ended too.
    if (!ended) ::kill(pid, SIGKILL);
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return base::os_error("wait for", command[0]);
    if (!ended) return Error{Errc::Timeout, 0, "", command[0] + " did not end within " + std::to_string(deadline.count()) + " ms"};
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error{Errc::Unavailable, 0, "", command[0] + " failed"};
    return out;
}

}  // namespace warren::tools
