// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/check_command.h"

#include "base/clock.h"
#include "tools/warren/check_cluster.h"
#include "tools/warren/check_daemons.h"
#include "tools/warren/check_host.h"
#include "tools/warren/cluster.h"
#include "tools/warren/cluster_check.h"
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace warren::tools {
namespace {

// Before an installation no daemon runs, and that is in order.
void not_running(const Daemon& daemon, const base::Error& error, Findings& to) {
    if (error.code == base::Errc::Unavailable)
        to.push_back(
            {Severity::Note, daemon.name, "does not answer on " + daemon.address, "start " + daemon.program + " if it should run here"});
    else
        to.push_back({Severity::Error, daemon.name, error.message(), ""});
}

struct CheckOptions {
    bool quiet = false, strict = false;
};

}  // namespace

Findings check_node(const Context& context) {
    Findings out;
    // A running agent says what it found when it probed.
    const auto status = agent_status(context);
    check_this_host(!status, out);
    const base::WallTime now = base::RealClock().wall();
    if (status) {
        check_agent_status(*status, out);
        check_cluster(context, *status, out);
    } else {
        not_running(agent_of(context), status.error(), out);
    }
    if (const auto dump = config_dump(context, ""))
        check_certificates(*dump, now, out);
    else
        not_running(tunnel_of(context), dump.error(), out);
    if (const Daemon controller = controller_of(context); !controller.address.empty()) {
        HttpAsk question;
        question.address = controller.address;
        question.path = "/status";
        question.deadline = std::chrono::seconds(context.globals.timeout_s);
        if (const auto reply = http_ask(question)) {
            check_skew(reply->date, base::RealClock().wall(), out);
            if (const auto json = parse_json(reply->body, "the controller's answer")) check_controller_status(*json, out);
        } else {
            out.push_back({Severity::Error, "controller", "does not answer: " + reply.error().message(),
                           "see whether warren-controller runs, and whether --controller names it"});
        }
    }
    return out;
}

void add_check(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("check",
                                           "is this node fit for the mesh: kernel, mounts, ports, clocks, conflicts; with --cluster, is "
                                           "that cluster; before an installation too");
    const auto options = std::make_shared<CheckOptions>();
    command->add_flag("-q,--quiet", options->quiet, "without what is in order");
    command->add_flag("--strict", options->strict, "warnings count for the exit code, not errors alone");
    command->callback([&context, options] {
        context.run = [&context, options]() -> base::Result<int> {
            const Findings findings = asks_cluster(context.globals) ? check_whole_cluster(context) : check_node(context);
            return report(context, findings, options->quiet, options->strict ? Severity::Warning : Severity::Error);
        };
    });
}

}  // namespace warren::tools
