// SPDX-License-Identifier: Apache-2.0
// warren-controller [serve | check FOLDER | token ... | root ... | version | help] [FLAGS]: a control plane for nodes (docs/controller.md).
// Exit codes: 0 done, 1 the answer is no or it ended in an error, 2 the question was wrong.
#include "agent/cluster/controller.h"
#include "agent/cluster/controller_commands.h"
#include "agent/xds/channel.h"
#include "base/confine.h"
#include "base/end_of_process.h"
#include "base/log.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

namespace {

const base::log::Area kLog("main");

constexpr const char* kUsage =
    "warren-controller [serve] [FLAGS]             serve nodes\n"
    "warren-controller check FOLDER [FLAGS]        is a folder of the mesh's files in order?\n"
    "warren-controller token create NAME --node NODE-OR-PATTERN [--expires 24h] [--uses 1] [FLAGS]\n"
    "warren-controller token list | token revoke NAME [FLAGS]\n"
    "warren-controller root status | rotate | hasten | print [FLAGS]\n"
    "warren-controller settings                    every setting as a table\n"
    "warren-controller version | help\n\n";

base::Result<void> serve(const ControllerSettings& settings) {
    const base::EndOfProcess end = TRY(base::EndOfProcess::prepare());
    xds::restrict_grpc_to_tls13();
    (void)base::raise_descriptor_limit();
    if (!settings.dumpable) TRY(base::hide_memory());
    // Its ports are high and its files its own: it needs none.
    TRY(base::keep_capabilities({}, "warren-controller"));
    TRY(base::filter_system_calls());
    base::log::Options log_options;
    log_options.format = settings.log_format;
    base::log::set_filter(settings.log_filter);
    TRY(base::log::start(log_options));

    auto controller = TRY(Controller::start(settings, [&end] { end.ask(); }));
    WARREN_LOG(kLog, base::log::Level::Info, "warren-controller is up", {"version", WARREN_VERSION});
    const char* why = end.wait();
    WARREN_LOG(kLog, base::log::Level::Info, "ending", {"why", why});
    base::EndOfProcess::exit_on_second_interrupt();
    controller.reset();
    (void)base::log::stop();
    return {};
}

int fail(const base::Error& error, int code) {
    (void)base::log::stop();
    std::fprintf(stderr, "warren-controller: %s\n", error.message().c_str());
    return code;
}

int print(const base::Result<CommandResult>& result) {
    if (!result) return fail(result.error(), result.error().code == base::Errc::Invalid ? 2 : 1);
    std::fputs(result->out.c_str(), stdout);
    std::fputs(result->err.c_str(), stderr);
    return result->exit_code;
}

// Words of a command before the flags of the settings; --node, --expires and --uses are the command's own.
std::vector<std::string> split(std::vector<std::string>& args) {
    std::vector<std::string> words, rest;
    for (size_t i = 0; i < args.size(); ++i) {
        const std::string& arg = args[i];
        const bool own = arg == "--node" || arg == "--expires" || arg == "--uses";
        if (own || arg.starts_with("--node=") || arg.starts_with("--expires=") || arg.starts_with("--uses=") || !arg.starts_with("--")) {
            words.push_back(arg);
            if (own && i + 1 < args.size()) words.push_back(args[++i]);
            continue;
        }
        rest.push_back(arg);
        if (arg.find('=') == std::string::npos && i + 1 < args.size()) rest.push_back(args[++i]);
    }
    args = std::move(rest);
    return words;
}

int run(const std::string& command, std::vector<std::string> args) {
    if (command == "version") return std::puts("warren-controller " WARREN_VERSION) < 0;
    if (command == "settings") return std::fputs(controller_settings_reference().c_str(), stdout) < 0;
    if (command == "help") return std::fputs((kUsage + controller_settings_help()).c_str(), stdout) < 0;
    std::vector<std::string> words;
    if (command != "serve") words = split(args);
    auto settings = read_controller_settings(std::move(args));
    if (!settings) return fail(settings.error(), 2);
    if (settings->effective.help) return run("help", {});
    if (command == "check") {
        if (words.size() != 1) return fail(base::invalid("use: check FOLDER"), 2);
        return print(check_command(words[0], settings->mesh));
    }
    if (command == "token") return print(token_command(words, *settings));
    if (command == "root") return print(root_command(words, *settings));
    if (command != "serve") return fail(base::invalid("no command \"" + command + "\"; see warren-controller help"), 2);
    const auto done = serve(*settings);
    return done ? 0 : fail(done.error(), 1);
}

}  // namespace

}  // namespace warren::cluster

int main(int argc, char** argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    std::string command = "serve";
    if (!args.empty() && (args[0] == "--help" || args[0] == "-h")) args[0] = "help";
    if (!args.empty() && !args[0].starts_with("-")) {
        command = args[0];
        args.erase(args.begin());
    }
    return warren::cluster::run(std::move(command), std::move(args));
}
