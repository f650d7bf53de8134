// SPDX-License-Identifier: Apache-2.0
// The commands, one file each: add_X() declares its options, which are also what the man page, the completions and docs/cli.md are made of,
// and leaves in Context::run what is to be done when it was the one given. app outlives the run; context too.
#pragma once

#include "tools/warren/context.h"

namespace warren::tools {

void add_status(CLI::App& app, Context& context);
void add_check(CLI::App& app, Context& context);
void add_workloads(CLI::App& app, Context& context);
void add_services(CLI::App& app, Context& context);
void add_policies(CLI::App& app, Context& context);
void add_certs(CLI::App& app, Context& context);
void add_connections(CLI::App& app, Context& context);
void add_flows(CLI::App& app, Context& context);
void add_top(CLI::App& app, Context& context);
void add_policy(CLI::App& app, Context& context);  // explain, diff, audit
void add_config_dump(CLI::App& app, Context& context);
void add_log_level(CLI::App& app, Context& context);
void add_bug_report(CLI::App& app, Context& context);
void add_convert(CLI::App& app, Context& context);
void add_install(CLI::App& app, Context& context);  // and upgrade, uninstall
void add_lab(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);
void add_completion(CLI::App& app, Context& context);
void add_man(CLI::App& app, Context& context);

}  // namespace warren::tools
