// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "tools/warren/commands.h"
#include "tools/warren/flow_query.h"
#include "tools/warren/flow_source.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <ostream>
#include <tuple>
#include <unordered_set>

namespace warren::tools {
namespace {

constexpr size_t kRemembered = 65'536;  // open flows shown already

struct FlowsOptions {
    FlowQuery query;
    std::string file;
    bool follow = false;
    size_t limit = 0;
};

const std::vector<std::string> kHeads = {"TIME", "VERDICT", "PATH", "FROM", "TO", "SENT", "RECEIVED", "STATE", "WHY"};
const std::vector<size_t> kLiveWidths = {24, 10, 11, 26, 30, 6, 8, 12};

Tone tone_of(const std::string& verdict) { return verdict == "denied" ? Tone::Bad : verdict == "allowed" ? Tone::Good : Tone::Plain; }

std::vector<Cell> cells(const FlowRecord& f) {
    std::string why = f.decision.policy.empty() ? f.decision.reason : f.decision.policy;
    if (!f.decision.policy.empty() && f.decision.rule) why += " rule " + std::to_string(*f.decision.rule + 1);
    if (!f.close_detail.empty()) why += (why.empty() ? "" : ", ") + f.close_detail;
    if (!f.dry_run.verdict.empty() && f.dry_run.verdict != f.decision.verdict)
        why += " (dry run: " + f.dry_run.verdict + ' ' + f.dry_run.policy + ')';
    return {base::to_rfc3339(f.end.value_or(f.start), 3),
            {f.decision.verdict, tone_of(f.decision.verdict)},
            f.path,
            f.from_shown(),
            f.to_shown(),
            short_number(static_cast<double>(f.to_destination)),
            short_number(static_cast<double>(f.to_source)),
            {f.end ? f.close_reason : "open", f.end ? Tone::Plain : Tone::Dim},
            why};
}

base::Result<int> list(const Context& context, const FlowsOptions& options) {
    const auto earliest = TRY(options.query.earliest(base::RealClock().wall()));
    std::vector<Flow> flows = TRY(load_flows(context, options.file));
    std::erase_if(flows, [&](const Flow& f) { return !options.query.accepts(f.record, earliest); });
    const auto order = [](const Flow& f) { return std::tuple(f.record.end.value_or(f.record.start), f.record.start, f.record.cookie); };
    std::sort(flows.begin(), flows.end(), [&](const Flow& a, const Flow& b) { return order(a) < order(b); });
    if (options.limit != 0 && flows.size() > options.limit) flows.erase(flows.begin(), flows.end() - static_cast<long>(options.limit));
    if (context.globals.output == "json") {
        for (const Flow& f : flows) context.out << to_text(f.json, -1) << '\n';
        return kOk;
    }
    Table table(kHeads);
    Json all = Json::array();
    for (const Flow& f : flows) {
        table.add(cells(f.record));
        all.push_back(f.json);
    }
    context.print(table, all);
    return kOk;
}

// A long connection is recorded again and again; a table shows its beginning and its end.
class Live {
  public:
    Live(const Context& context, const FlowsOptions& options, std::optional<base::WallTime> earliest)
        : context_(context), options_(options), earliest_(earliest), table_(kHeads) {
        table_.widen(kLiveWidths);
    }
    bool show(const Flow& flow) {
        if (!options_.query.accepts(flow.record, earliest_)) return true;
        if (!context_.for_people()) {
            if (context_.globals.output == "yaml") context_.out << "---\n";
            if (context_.globals.output == "yaml")
                context_.print(flow.json);
            else
                context_.out << to_text(flow.json, -1) << '\n';
        } else {
            const std::string key = flow.record.key();
            if (flow.record.end ? ended_.insert(key).second : open_.insert(key).second) row(flow.record);
            if (flow.record.end) open_.erase(key);
            if (ended_.size() > kRemembered) ended_.clear();
            if (open_.size() > kRemembered) open_.clear();
        }
        context_.out.flush();
        return static_cast<bool>(context_.out) && (options_.limit == 0 || ++shown_ < options_.limit);
    }

  private:
    void row(const FlowRecord& record) {
        if (!headed_) context_.out << table_.head(context_.colour());
        headed_ = true;
        context_.out << table_.row(cells(record), context_.colour());
    }

    const Context& context_;
    const FlowsOptions& options_;
    const std::optional<base::WallTime> earliest_;
    Table table_;
    std::unordered_set<std::string> open_, ended_;
    size_t shown_ = 0;
    bool headed_ = false;
};

base::Result<int> follow(const Context& context, const FlowsOptions& options) {
    if (!options.file.empty()) return base::invalid("--follow is for the live stream; a file is read once: leave one of them out");
    Live live(context, options, TRY(options.query.earliest(base::RealClock().wall())));
    FlowReader reader;
    reader.flow = [&](const Flow& flow) { return live.show(flow); };
    reader.lost = [&](uint64_t total) {
        context.note(std::to_string(total) + " flows lost so far: the node makes them faster than they are read");
    };
    reader.history_over = [&] { return static_cast<bool>(context.out.flush()); };
    TRY(follow_flows(context, reader));
    return kOk;
}

}  // namespace

void add_flows(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("flows", "who talked to whom, over which path, and why it was allowed or refused");
    const auto options = std::make_shared<FlowsOptions>();
    command->add_flag("-f,--follow", options->follow, "the live stream, until Ctrl-C");
    command->add_option("--file", options->file, "JSON lines of a flow log instead of the agent; - reads standard input")
        ->type_name("FILE");
    command->add_option("--limit", options->limit, "the latest so many; with --follow: end after so many; 0: all")->type_name("COUNT");
    options->query.add_to(*command);
    command->callback([&context, options] {
        context.run = [&context, options] { return options->follow ? follow(context, *options) : list(context, *options); };
    });
}

}  // namespace warren::tools
