// SPDX-License-Identifier: Apache-2.0
#include "base/log_filter.h"
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>

namespace warren::tools {
namespace {

struct LogOptions {
    std::string level, part;
    bool reset = false;
};

// "current log level is info,xds=debug" and "info,xds=debug" alike.
std::string filter_of(std::string answer) {
    while (!answer.empty() && (answer.back() == '\n' || answer.back() == ' ')) answer.pop_back();
    const size_t space = answer.rfind(' ');
    return space == std::string::npos ? answer : answer.substr(space + 1);
}

// "xds:debug" as the stock tool writes it.
std::string as_directives(std::string text) {
    for (size_t i = 0; i < text.size(); ++i) {
        const bool module = text.compare(i, 2, "::") == 0;
        if (text[i] == ':' && !module) text[i] = '=';
        if (module) ++i;
    }
    return text;
}

// The agent takes a filter whole, so what is there is kept by asking first; the others add by themselves, and the sum changes nothing for
// them.
base::Result<std::string> set_level(const Context& context, const Daemon& daemon, const LogOptions& options) {
    const bool agent = daemon.name == "agent";
    if (options.reset) return ask(context, daemon, "/logging?reset", true);
    // The others answer POST alone, and say what is in force when nothing is asked.
    const std::string now = filter_of(TRY(ask(context, daemon, "/logging", !agent)));
    if (options.level.empty()) return now;
    auto filter = base::log::Filter::parse(now);
    const auto over = base::log::Filter::parse(as_directives(options.level));
    if (!over) return base::Error(over.error());
    if (!filter) return ask(context, daemon, "/logging?level=" + url_escape(over->text()), true);
    TRY(filter->merge(*over));
    return ask(context, daemon, "/logging?level=" + url_escape(filter->text()), true);
}

base::Result<int> log_level(const Context& context, const LogOptions& options) {
    if (!options.level.empty()) {
        const auto parsed = base::log::Filter::parse(as_directives(options.level));
        if (!parsed) {
            context.note(parsed.error().message());
            return kUsage;
        }
    }
    Table table({"PROGRAM", "LOG LEVEL"});
    Json document = Json::object();
    size_t failed = 0, asked = 0;
    for (const Daemon& daemon : {agent_of(context), tunnel_of(context), controller_of(context)}) {
        if (options.part.empty() ? daemon.address.empty() : options.part != daemon.name) continue;
        ++asked;
        const auto answer = set_level(context, daemon, options);
        if (!answer) {
            ++failed;
            context.note(answer.error().message());
            continue;
        }
        table.add({daemon.program, filter_of(*answer)});
        document[daemon.program] = filter_of(*answer);
    }
    if (failed != asked) context.print(table, document);
    return failed == 0 ? kOk : kFailed;
}

}  // namespace

void add_log_level(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("log-level", "what the daemons log, or another level for an area while they run");
    const auto options = std::make_shared<LogOptions>();
    command->add_option("LEVEL", options->level, "LEVEL, AREA:LEVEL or several with commas (access:debug,xds:trace); nothing: show");
    command->add_option("--of", options->part, "only this daemon: agent, tunnel or controller")
        ->type_name("DAEMON")
        ->check(CLI::IsMember({"agent", "tunnel", "controller"}));
    command->add_flag("--reset", options->reset, "back to what the daemon started with");
    command->callback([&context, options] { context.run = [&context, options] { return log_level(context, *options); }; });
}

}  // namespace warren::tools
