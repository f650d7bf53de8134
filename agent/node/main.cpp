// SPDX-License-Identifier: Apache-2.0
// warren-agent [run | uninstall | retire | version | help] [--flags]: the privileged half of the node (docs/agent.md). `run` is the
// default; `retire` is for the chart's hook, and runs without privileges.
#include "agent/kube/kube_config.h"
#include "agent/node/daemon.h"
#include "agent/node/departure.h"
#include "agent/node/settings.h"
#include "agent/xds/channel.h"
#include "base/end_of_process.h"
#include "base/log.h"
#include "base/startup_memory.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
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

base::Result<std::shared_ptr<kube::Endpoint>> api_server() {
    const auto config = TRY(kube::in_cluster_config([](const char* name) -> const char* { return std::getenv(name); }));
    return kube::Endpoint::create(config);
}

// After the daemon has ended. The pod is killed 30 seconds after it was told to end, or later.
base::Result<void> clean_up_if_removed(const Settings& settings) {
    if (settings.daemonset.empty()) return {};
    const auto self = TRY(DaemonSetName::parse(settings.daemonset));
    kube::Client client(TRY(api_server()));
    if (TRY(departure_of(client, self, std::chrono::steady_clock::now() + std::chrono::seconds(20))) == Departure::Replaced) {
        WARREN_LOG(kMain, base::log::Level::Info, "the DaemonSet stays: so does what the kernel has");
        return {};
    }
    WARREN_LOG(kMain, base::log::Level::Info, "the DaemonSet is removed: taking Warren off this node");
    return uninstall(settings);
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
    auto cleaned = clean_up_if_removed(settings);
    if (!cleaned) WARREN_LOG(kMain, base::log::Level::Error, "this node keeps what it has of Warren", {"error", cleaned.error().message()});
    (void)base::log::stop();
    return 0;
}

base::Result<int> take_out(std::vector<std::string> args) {
    const ReadSettings read = TRY(settings_from(std::move(args), Purpose::Uninstall));
    if (read.effective.help) {  // whoever asks what it does has not asked for it yet
        std::puts("warren-agent uninstall [--flags]: detaches every program of the instance and removes its pins\n");
        std::fputs(settings_help().c_str(), stdout);
        return 0;
    }
    TRY(uninstall(read.settings));
    std::printf("warren-agent: instance %s is out of the kernel\n", read.settings.instance.c_str());
    return 0;
}

base::Result<int> retire_all(std::vector<std::string> args) {
    std::string set, selector;
    std::chrono::nanoseconds patience = std::chrono::minutes(4);
    base::config::Schema schema;
    schema.text({.name = "daemonset", .flag = "--daemonset", .help = "NAMESPACE/NAME"}, set);
    schema.text({.name = "selector", .flag = "--selector", .help = "labels of its pods"}, selector);
    schema.duration({.name = "wait", .flag = "--wait", .help = "for the pods to go"}, patience, std::chrono::seconds(1),
                    std::chrono::hours(1));
    if (TRY(schema.read({.args = std::move(args)})).help) return std::fputs(schema.help("warren-agent retire").c_str(), stdout) < 0;
    if (selector.empty()) return base::invalid("--selector is missing: give the labels of the DaemonSet's pods, as in app=warren-agent");
    const auto name = TRY(DaemonSetName::parse(set));
    kube::Client client(TRY(api_server()));
    TRY(retire(client, name, selector, std::chrono::steady_clock::now() + patience));
    std::printf("warren-agent: DaemonSet %s and its pods are gone\n", set.c_str());
    return 0;
}

base::Result<int> dispatch(std::string_view word, std::vector<std::string> args) {
    if (word == "run") return run(std::move(args));
    if (word == "uninstall") return take_out(std::move(args));
    if (word == "retire") return retire_all(std::move(args));
    if (word == "version") {
        std::puts("warren-agent " WARREN_VERSION);
        return 0;
    }
    if (word == "help") {
        std::puts("warren-agent [run | uninstall | retire | version | help]\n");
        std::fputs(settings_help().c_str(), stdout);
        return 0;
    }
    return base::invalid("no command \"" + std::string(word) + "\"; commands are run, uninstall, retire, version, help");
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
    warren::base::keep_large_blocks_apart();
    auto done = warren::node::dispatch(word, std::move(args));
    if (done) return *done;
    (void)warren::base::log::stop();
    std::fprintf(stderr, "warren-agent: %s\n", done.error().message().c_str());
    return 1;
}
