// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/cli.h"

#include "base/netns.h"
#include "tools/warren/commands.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>

namespace warren::tools {
namespace {

constexpr const char* kGlobal = "Global options";

void add_globals(CLI::App& app, Context& context) {
    Globals& g = context.globals;
    const auto text = [&](const char* name, std::string& to, const char* variable, const char* what) {
        auto* option = app.add_option(name, to, what)->group(kGlobal)->capture_default_str();
        return *variable == '\0' ? option : option->envname(variable);
    };
    text("--agent", g.agent, "WARREN_AGENT_ADDRESS", "the agent's admin port: HOST:PORT or unix:/PATH")->type_name("ADDRESS");
    text("--tunnel", g.tunnel, "WARREN_TUNNEL_ADDRESS", "the tunnel's admin port")->type_name("ADDRESS");
    text("--controller", g.controller, "WARREN_CONTROLLER_ADDRESS", "the controller's admin port; nothing: it is not asked")
        ->type_name("ADDRESS");
    text("--agent-metrics", g.agent_metrics, "WARREN_AGENT_METRICS_ADDRESS", "the agent's metrics port")->type_name("ADDRESS");
    text("--tunnel-metrics", g.tunnel_metrics, "WARREN_TUNNEL_METRICS_ADDRESS", "the tunnel's metrics port")->type_name("ADDRESS");
    text("--flows-socket", g.flows_socket, "WARREN_FLOWS_SOCKET", "the agent's Unix socket with the live stream of flows")
        ->type_name("PATH");
    text("--netns", g.netns, "WARREN_NETNS", "ask from inside this network namespace, for a node of a lab: a name of `ip netns` or a path")
        ->type_name("NAME");
    text("-o,--output", g.output, "WARREN_OUTPUT", "table for people, json or yaml for machines")
        ->type_name("FORMAT")
        ->transform(CLI::Transformer(std::map<std::string, std::string>{{"text", "table"}}).description(""))
        ->check(CLI::IsMember({"table", "json", "yaml"}));
    text("--color", g.color, "WARREN_COLOR", "auto: on a terminal, unless NO_COLOR is set")
        ->type_name("WHEN")
        ->check(CLI::IsMember({"auto", "always", "never"}));
    app.add_flag("--cluster", g.cluster, "ask a Kubernetes cluster, by kubectl, also where an agent runs here")->group(kGlobal);
    text("--kubeconfig", g.kubeconfig, "", "of the cluster; nothing: as kubectl finds it")->type_name("FILE");
    text("--context", g.kube_context, "", "of the kubeconfig; nothing: its current one")->type_name("NAME");
    text("--mesh-namespace", g.mesh_namespace, "WARREN_NAMESPACE", "where the mesh is installed; nothing: wherever it is")
        ->type_name("NAME");
    text("--on-node", g.on_node, "", "of the cluster: whose daemons are asked; nothing: the first that is ready")->type_name("NAME");
    app.add_option("--timeout", g.timeout_s, "seconds to wait for an answer")
        ->envname("WARREN_TIMEOUT")
        ->type_name("SECONDS")
        ->group(kGlobal)
        ->capture_default_str()
        ->check(CLI::Range(1, 600));
}

// For the rest of the process: what it asks and the threads it starts are inside.
base::Result<std::optional<base::NetnsStay>> enter(const std::string& netns, std::optional<base::Netns>& home) {
    if (netns.empty()) return std::optional<base::NetnsStay>();
    const std::string path = netns.find('/') == std::string::npos ? "/run/netns/" + netns : netns;
    auto target = base::Netns::open(path);
    if (!target) return std::move(target).error().with("--netns " + netns);
    home.emplace(TRY(base::Netns::current()));
    auto stay = base::NetnsStay::enter(*target, *home);
    if (!stay) return std::move(stay).error().with("--netns " + netns + " (it needs root)");
    return std::optional<base::NetnsStay>(*std::move(stay));
}

int finish(const base::Result<int>& result, const Context& context) {
    if (result) return *result;
    context.note(result.error().message());
    return kFailed;
}

}  // namespace

std::unique_ptr<CLI::App, void (*)(CLI::App*)> make_app(Context& context) {
    std::unique_ptr<CLI::App, void (*)(CLI::App*)> app(new CLI::App("Asks and steers a Warren mesh.", "warren"),
                                                       [](CLI::App* a) { delete a; });
    app->require_subcommand(1);
    app->fallthrough();  // global options may stand behind the command
    app->set_version_flag("--version", "warren " WARREN_VERSION);
    app->failure_message([](const CLI::App* at, const CLI::Error& error) {
        std::string what = error.what();
        // The library says of a command it does not know that one is missing.
        const std::vector<std::string> rest = at->remaining(true);
        if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !rest.empty())
            what = "there is no command \"" + rest.front() + '"';
        return "warren: " + what + "\nsee `warren --help`, or --help behind a command\n";
    });
    add_globals(*app, context);
    for (const auto add :
         {add_status, add_check, add_workloads, add_services, add_policies, add_certs, add_connections, add_flows, add_top, add_policy,
          add_convert, add_config_dump, add_log_level, add_bug_report, add_install, add_lab, add_version, add_completion, add_man})
        add(*app, context);
    context.root = app.get();
    return app;
}

int run_cli(std::vector<std::string> arguments, Context& context) {
    const auto app = make_app(context);
    std::reverse(arguments.begin(), arguments.end());  // as the library takes them
    try {
        app->parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        return app->exit(error, context.out, context.err) == 0 ? kOk : kUsage;
    }
    if (!context.run) return kUsage;
    std::optional<base::Netns> home;
    auto stay = enter(context.globals.netns, home);
    if (!stay) return finish(std::move(stay).error(), context);
    return finish(context.run(), context);
}

}  // namespace warren::tools
