// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/duration.h"
#include "tools/warren/flow_query.h"
#include "tools/warren/talkers.h"

#include <CLI/CLI.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <memory>
#include <ostream>
#include <thread>

namespace warren::tools {
namespace {

struct TopOptions {
    FlowQuery query;
    std::string file;
    std::string interval = "2s";
    size_t limit = 20;
    bool once = false;
};

Json as_json(const std::vector<Talker>& talkers) {
    Json out = Json::array();
    for (const Talker& t : talkers)
        out.push_back({{"from", t.from},
                       {"to", t.to},
                       {"path", t.path},
                       {"open", t.open},
                       {"ended", t.ended},
                       {"denied", t.denied},
                       {"bytes_sent", t.sent},
                       {"bytes_received", t.received},
                       {"bytes_per_second", t.rate}});
    return out;
}

Table as_table(const std::vector<Talker>& talkers, bool rates) {
    Table table({"FROM", "TO", "PATH", "BYTES/S", "SENT", "RECEIVED", "OPEN", "ENDED", "DENIED"});
    for (const Talker& t : talkers)
        table.add({t.from,
                   t.to,
                   t.path,
                   rates ? short_number(t.rate) : "-",
                   short_number(static_cast<double>(t.sent)),
                   short_number(static_cast<double>(t.received)),
                   std::to_string(t.open),
                   std::to_string(t.ended),
                   {std::to_string(t.denied), t.denied != 0 ? Tone::Bad : Tone::Plain}});
    return table;
}

size_t rows_of_terminal() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 4 ? size_t{size.ws_row} : size_t{24};
}

base::Result<std::vector<Talker>> look(const Context& context, const TopOptions& options, Talkers& talkers) {
    const base::RealClock clock;
    const auto earliest = TRY(options.query.earliest(clock.wall()));
    std::vector<Flow> flows = TRY(load_flows(context, options.file));
    std::erase_if(flows, [&](const Flow& f) { return !options.query.accepts(f.record, earliest); });
    std::vector<Talker> out = talkers.look(flows, clock.now());
    if (options.limit != 0 && out.size() > options.limit) out.resize(options.limit);
    return out;
}

base::Result<int> top(const Context& context, const TopOptions& options) {
    Talkers talkers;
    if (options.once || !context.terminal || !context.for_people() || !options.file.empty()) {
        const auto found = TRY(look(context, options, talkers));
        context.print(as_table(found, false), as_json(found));
        return kOk;
    }
    auto interval = parse_duration(options.interval);
    if (!interval) return std::move(interval).error().with("--interval");
    for (bool rates = false;; rates = true) {
        auto found = TRY(look(context, options, talkers));
        if (found.size() + 3 > rows_of_terminal()) found.resize(rows_of_terminal() - 3);
        // Home, the table, then whatever was below it is wiped: no flicker.
        std::string screen = "\x1b[H" + as_table(found, rates).render(context.colour());
        for (size_t i = 0; (i = screen.find('\n', i)) != std::string::npos; i += 4) screen.replace(i, 1, "\x1b[K\n");
        context.out << screen << "\x1b[J" << std::flush;
        if (!context.out) return kFailed;
        std::this_thread::sleep_for(std::max(*interval, std::chrono::milliseconds(200)));
    }
}

}  // namespace

void add_top(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("top", "the busiest pairs, refreshed; once when the output is no terminal");
    const auto options = std::make_shared<TopOptions>();
    command->add_option("--interval", options->interval, "between two looks")->type_name("TIME")->capture_default_str();
    command->add_option("--limit", options->limit, "so many rows; 0: all")->type_name("COUNT")->capture_default_str();
    command->add_flag("--once", options->once, "one look, then end");
    command->add_option("--file", options->file, "JSON lines of a flow log instead of the agent")->type_name("FILE");
    options->query.add_to(*command);
    command->callback([&context, options] { context.run = [&context, options] { return top(context, *options); }; });
}

}  // namespace warren::tools
