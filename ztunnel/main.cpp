// SPDX-License-Identifier: Apache-2.0
// warren-ztunnel [proxy [NAME] | version | help]: the shared per-node tunnel. Configured by its environment (data-plane contract 10.2).
#include "base/log.h"
#include "ztunnel/ca_client.h"
#include "ztunnel/confine.h"
#include "ztunnel/daemon.h"
#include "ztunnel/settings.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("main");

// SIGTERM, SIGINT, or a word from the admin port.
class EndOfProcess {
  public:
    static base::Result<EndOfProcess> prepare() {
        sigset_t set;
        ::sigemptyset(&set);
        ::sigaddset(&set, SIGTERM);
        ::sigaddset(&set, SIGINT);
        // Before any thread exists, so that all inherit it and the signals are read here only.
        if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return base::os_error("sigprocmask");
        base::Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!signals.valid()) return base::os_error("signalfd");
        base::Fd asked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!asked.valid()) return base::os_error("eventfd");
        ::signal(SIGPIPE, SIG_IGN);
        return EndOfProcess(std::move(signals), std::move(asked));
    }
    void ask() const {
        const uint64_t one = 1;
        (void)!::write(asked_.get(), &one, sizeof one);
    }
    const char* wait() const {
        for (;;) {
            pollfd fds[] = {{signals_.get(), POLLIN, 0}, {asked_.get(), POLLIN, 0}};
            if (::poll(fds, 2, -1) < 0 && errno != EINTR) return "poll failed";
            if (fds[1].revents != 0) return "asked by the admin port";
            signalfd_siginfo info{};
            if (::read(signals_.get(), &info, sizeof info) == sizeof info) return info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
        }
    }
    // A second SIGINT ends the process at once (contract 4.8).
    void exit_on_second_interrupt() const {
        sigset_t set;
        ::sigemptyset(&set);
        ::sigaddset(&set, SIGINT);
        ::signal(SIGINT, [](int) { ::_exit(0); });
        ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    }

  private:
    EndOfProcess(base::Fd signals, base::Fd asked) : signals_(std::move(signals)), asked_(std::move(asked)) {}
    base::Fd signals_, asked_;
};

base::Result<void> confine(const Settings& settings) {
    (void)raise_descriptor_limit();
    if (!settings.dumpable) TRY(hide_memory());
    if (settings.mode == ProxyMode::Shared) TRY(keep_needed_capabilities());
    return filter_system_calls();
}

base::Result<void> run() {
    const EndOfProcess end = TRY(EndOfProcess::prepare());
    const Settings settings = TRY(read_settings(TRY(own_sources())));
    if (!settings.tls.tls12) restrict_grpc_to_tls13();
    TRY(confine(settings));
    base::log::Options log_options;
    log_options.format = settings.log_format;
    base::log::set_filter(settings.log_filter);
    TRY(base::log::start(log_options));
    for (const std::string& notice : settings.notices) WARREN_LOG(kLog, base::log::Level::Warn, notice);

    auto daemon = TRY(Daemon::start(settings, [&end] { end.ask(); }));
    WARREN_LOG(kLog, base::log::Level::Info, "warren-ztunnel is up", {"version", WARREN_VERSION}, {"workers", settings.worker_threads});
    const char* why = end.wait();
    WARREN_LOG(kLog, base::log::Level::Info, "draining", {"why", why},
               {"deadline_ms", static_cast<uint64_t>(settings.drain_deadline.count())});
    end.exit_on_second_interrupt();
    const bool finished = daemon->drain();
    WARREN_LOG(kLog, base::log::Level::Info, "stopped", {"all_connections_finished", finished});
    daemon.reset();
    (void)base::log::stop();
    return {};
}

}  // namespace

}  // namespace warren::ztunnel

int main(int argc, char** argv) {
    const std::string_view word = argc > 1 ? argv[1] : "proxy";
    if (word == "version") {
        std::puts("warren-ztunnel " WARREN_VERSION);
        return 0;
    }
    if (word == "help" || word == "--help" || word == "-h") {
        std::puts("warren-ztunnel [proxy | version | help]\n\nThe shared per-node tunnel of Warren. Configured by its environment:\n");
        std::fputs(warren::ztunnel::settings_reference().c_str(), stdout);
        return 0;
    }
    if (word != "proxy") {
        std::fprintf(stderr, "warren-ztunnel: no command \"%s\"; commands are proxy, version, help\n", argv[1]);
        return 1;
    }
    auto done = warren::ztunnel::run();
    if (done) return 0;
    (void)warren::base::log::stop();
    std::fprintf(stderr, "warren-ztunnel: %s\n", done.error().message().c_str());
    return 1;
}
