// SPDX-License-Identifier: Apache-2.0
#include "base/end_of_process.h"

#include "base/startup_memory.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace warren::base {
namespace {

// By then a daemon has its mesh, its certificates and its connections to control planes, as a rule.
constexpr auto kStartup = std::chrono::seconds(15);

}  // namespace

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

const char* EndOfProcess::wait_for(std::chrono::milliseconds patience) const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd fds[] = {{signals_.get(), POLLIN, 0}, {asked_.get(), POLLIN, 0}};
        const int ready = ::poll(fds, 2, static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000)));
        if (ready < 0 && errno != EINTR) return "poll failed";
        if (ready == 0 && left.count() <= 3'600'000) return nullptr;
        if (fds[1].revents != 0) return "asked by the admin port";
        signalfd_siginfo info{};
        if (::read(signals_.get(), &info, sizeof info) == sizeof info) return info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
    }
}

const char* EndOfProcess::wait() const {
    if (const char* why = wait_for(kStartup)) return why;
    (void)release_startup_memory();
    for (;;) {
        if (const char* why = wait_for(std::chrono::hours(1))) return why;
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
