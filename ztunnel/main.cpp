// SPDX-License-Identifier: Apache-2.0
// warren-ztunnel [proxy [NAME] | version | help]: the shared per-node tunnel. Configured by its environment (data-plane contract 10.2).
#include "base/confine.h"
#include "base/end_of_process.h"
#include "base/log.h"
#include "ztunnel/daemon.h"
#include "ztunnel/mesh_client.h"
#include "ztunnel/settings.h"

#include <linux/capability.h>

#include <cstdio>
#include <string_view>

namespace warren::ztunnel {

namespace {

const base::log::Area kLog("main");

base::Result<void> confine(const Settings& settings) {
    (void)base::raise_descriptor_limit();
    if (!settings.dumpable) TRY(base::hide_memory());
    // Mark and transparent sockets, setns, and the contract's third (contract 8.3).
    constexpr int kNeeded[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_NET_RAW};
    if (settings.mode == ProxyMode::Shared) TRY(base::keep_capabilities(kNeeded, "shared mode"));
    constexpr const char* kIntoPods[] = {"setns"};
    return base::filter_system_calls(kIntoPods);
}

base::Result<void> run() {
    const base::EndOfProcess end = TRY(base::EndOfProcess::prepare());
    const Settings settings = TRY(read_settings(TRY(own_sources())));
    if (!settings.tls.tls12) restrict_control_channels_to_tls13();
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
    base::EndOfProcess::exit_on_second_interrupt();
    const bool finished = daemon->drain();
    WARREN_LOG(kLog, base::log::Level::Info, "stopped", {"all_connections_finished", finished});
    auto done = daemon->outcome();
    daemon.reset();
    (void)base::log::stop();
    return done;
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
