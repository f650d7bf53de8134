// SPDX-License-Identifier: Apache-2.0
// warren-agent [run | uninstall | version | help] [--flags]: the privileged half of the node (docs/agent.md). `run` is the default.
#include "agent/node/daemon.h"
#include "agent/node/settings.h"
#include "agent/xds/channel.h"
#include "base/end_of_process.h"
#include "base/log.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {
namespace {

const base::log::Area kMain("main");

base::Result<ReadSettings> settings_from(std::vector<std::string> args, Purpose purpose) {
    base::config::Sources sources;
    sources.file = "/etc/warren/agent.yaml";
    sources.file_may_be_missing = true;
    sources.args = std::move(args);
    return read_settings(sources, purpose);
}

base::Result<int> run(std::vector<std::string> args) {
    const base::EndOfProcess end = TRY(base::EndOfProcess::prepare());
    const ReadSettings read = TRY(settings_from(std::move(args), Purpose::Run));
    if (read.effective.help) {
        std::fputs(settings_help().c_str(), stdout);
        return 0;
    }
    const Settings& settings = read.settings;
    xds::restrict_grpc_to_tls13();
    base::log::set_filter(settings.log_filter);
    base::log::Options log;
    log.format = settings.log_format;
    TRY(base::log::start(log));
    auto daemon = TRY(Daemon::start(settings, [&end] { end.ask(); }));
    WARREN_LOG(kMain, base::log::Level::Info, "warren-agent is up", {"version", WARREN_VERSION}, {"node", settings.node_name},
               {"instance", settings.instance});
    const char* why = end.wait();
    WARREN_LOG(kMain, base::log::Level::Info, "stopping; the kernel keeps what it has", {"why", why});
    base::EndOfProcess::exit_on_second_interrupt();
    daemon.reset();
    (void)base::log::stop();
    return 0;
}

base::Result<int> take_out(std::vector<std::string> args) {
    const ReadSettings read = TRY(settings_from(std::move(args), Purpose::Uninstall));
    TRY(uninstall(read.settings));
    std::printf("warren-agent: instance %s is out of the kernel\n", read.settings.instance.c_str());
    return 0;
}

base::Result<int> dispatch(std::string_view word, std::vector<std::string> args) {
    if (word == "run") return run(std::move(args));
    if (word == "uninstall") return take_out(std::move(args));
    if (word == "version") {
        std::puts("warren-agent " WARREN_VERSION);
        return 0;
    }
    if (word == "help") {
        std::puts("warren-agent [run | uninstall | version | help]\n");
        std::fputs(settings_help().c_str(), stdout);
        return 0;
    }
    return base::invalid("no command \"" + std::string(word) + "\"; commands are run, uninstall, version, help");
}

}  // namespace
}  // namespace warren::node

int main(int argc, char** argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    std::string word = "run";
    if (!args.empty() && !args.front().starts_with("-")) {
        word = args.front();
        args.erase(args.begin());
    }
    auto done = warren::node::dispatch(word, std::move(args));
    if (done) return *done;
    (void)warren::base::log::stop();
    std::fprintf(stderr, "warren-agent: %s\n", done.error().message().c_str());
    return 1;
}
