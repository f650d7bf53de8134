// SPDX-License-Identifier: Apache-2.0
#include "base/end_of_process.h"

#include <cerrno>
#include <csignal>
#include <cstdint>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace warren::base {

Result<EndOfProcess> EndOfProcess::prepare() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return os_error("sigprocmask");
    Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals.valid()) return os_error("signalfd");
    Fd asked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!asked.valid()) return os_error("eventfd");
    ::signal(SIGPIPE, SIG_IGN);
    return EndOfProcess(std::move(signals), std::move(asked));
}

void EndOfProcess::ask() const {
    const uint64_t one = 1;
    (void)!::write(asked_.get(), &one, sizeof one);
}

const char* EndOfProcess::wait() const {
    for (;;) {
        pollfd fds[] = {{signals_.get(), POLLIN, 0}, {asked_.get(), POLLIN, 0}};
        if (::poll(fds, 2, -1) < 0 && errno != EINTR) return "poll failed";
        if (fds[1].revents != 0) return "asked by the admin port";
        signalfd_siginfo info{};
        if (::read(signals_.get(), &info, sizeof info) == sizeof info) return info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
    }
}

void EndOfProcess::exit_on_second_interrupt() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    ::signal(SIGINT, [](int) { ::_exit(0); });
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace warren::base
