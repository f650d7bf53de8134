// SPDX-License-Identifier: Apache-2.0
// install, upgrade, uninstall: the chart, by helm, with what a person forgets: is the cluster fit, may the namespace have such pods, what
// now.
#include "tools/warren/child.h"
#include "tools/warren/cluster_check.h"
#include "tools/warren/commands.h"
#include "tools/warren/kubectl.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>

namespace warren::tools {
namespace {

constexpr const char* kNamespace = "warren-system";

struct ChartOptions {
    std::string chart, release = "warren", wait = "5m";
    std::vector<std::string> values, set;
    bool dry_run = false, force = false;
};

std::string namespace_of(const Context& context) {
    return context.globals.mesh_namespace.empty() ? kNamespace : context.globals.mesh_namespace;
}

// Named, or where packages put it, or in the tree this program was built in.
base::Result<std::string> find_chart(const std::string& named) {
    namespace fs = std::filesystem;
    std::vector<fs::path> places;
    if (!named.empty()) {
        places = {named};
    } else {
        std::error_code failed;
        const fs::path self = fs::read_symlink("/proc/self/exe", failed).parent_path();
        places = {self / "../share/warren/chart", self / "../../../charts/warren", "/usr/share/warren/chart"};
    }
    for (const fs::path& place : places) {
        std::error_code failed;
        if (fs::is_regular_file(place / "Chart.yaml", failed) || (!named.empty() && fs::is_regular_file(place, failed)))
            return fs::weakly_canonical(place, failed).string();
    }
    if (!named.empty()) return base::invalid("--chart: " + named + " is neither a chart's folder nor a packed chart");
    return base::Error{base::Errc::NotFound, 0, "", "the chart is not beside this program; name its folder with --chart"};
}

base::Result<void> need_helm(const Context& context) {
    const auto version = output_of(context, helm(context, {"version", "--short"}));
    if (!version) return base::Error{version.error().code, 0, "", version.error().message() + " (the chart is installed by helm)"};
    return {};
}

// Pods of the mesh enter other pods' namespaces and load kernel programs: where pod security is enforced, this namespace has to allow it.
base::Result<void> make_namespace(const Context& context, const std::string& ns) {
    if (!output_of(context, kubectl(context, {"get", "namespace", ns, "-o", "name"})))
        TRY(output_of(context, kubectl(context, {"create", "namespace", ns})));
    TRY(output_of(context, kubectl(context, {"label", "--overwrite", "namespace", ns, "pod-security.kubernetes.io/enforce=privileged"})));
    return {};
}

// True: nothing speaks against it.
bool fit(const Context& context, const ChartOptions& options) {
    const Findings findings = check_before_install(context);
    const bool bad = std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == Severity::Error; });
    if (bad) {
        Context to_people(context.err, context.err);
        to_people.terminal = context.terminal;
        to_people.no_color = context.no_color;
        (void)report(to_people, findings, true, Severity::Error);
    }
    if (bad && !options.force) context.note("nothing was changed; --force goes on all the same");
    return !bad || options.force;
}

base::Result<int> put_chart(const Context& context, const ChartOptions& options, bool is_new) {
    const std::string chart = TRY(find_chart(options.chart)), ns = namespace_of(context);
    TRY(need_helm(context));
    if (is_new && !fit(context, options)) return kFindings;
    if (is_new && !options.dry_run) TRY(make_namespace(context, ns));
    std::vector<std::string> words = {is_new ? "install" : "upgrade", options.release, chart, "--namespace", ns};
    if (!is_new) words.emplace_back("--reset-then-reuse-values");  // what this version brings, then what was chosen before
    for (const std::string& file : options.values) words.insert(words.end(), {"--values", file});
    for (const std::string& value : options.set) words.insert(words.end(), {"--set", value});
    if (options.dry_run)
        words.emplace_back("--dry-run=server");
    else
        words.insert(words.end(), {"--wait", "--timeout", options.wait});
    context.out.flush();
    const int code = TRY(run_attached(helm(context, std::move(words))));
    if (code != 0)
        return base::Error{
            base::Errc::Unavailable, 0, "",
            "helm ended with code " + std::to_string(code) + "; `warren check --cluster` and `warren status --cluster` tell more"};
    if (!options.dry_run) context.out << (is_new ? "Installed" : "Upgraded") << ". All nodes: warren status --cluster\n";
    return kOk;
}

base::Result<int> uninstall(const Context& context, const ChartOptions& options) {
    TRY(need_helm(context));
    std::vector<std::string> words = {"uninstall", options.release, "--namespace", namespace_of(context)};
    if (options.dry_run)
        words.emplace_back("--dry-run");
    else
        words.insert(words.end(), {"--wait", "--timeout", options.wait});
    context.out.flush();
    const int code = TRY(run_attached(helm(context, std::move(words))));
    if (code != 0)
        return base::Error{base::Errc::Unavailable, 0, "",
                           "helm ended with code " + std::to_string(code) + "; docs/kubernetes.md says how a node is cleaned by hand"};
    if (!options.dry_run)
        context.out << "Removed. Pods go on without the mesh; the Secret warren-ca and, unless crds.keep=false, policies stay.\n";
    return kOk;
}

CLI::App* add_chart_command(CLI::App& app, const char* name, const char* what, const std::shared_ptr<ChartOptions>& options) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("--release", options->release, "helm's name of it")->type_name("NAME")->capture_default_str();
    command->add_option("--wait", options->wait, "until it is done, at most so long")->type_name("DURATION")->capture_default_str();
    command->add_flag("--dry-run", options->dry_run, "show what would be done");
    return command;
}

void add_chart_options(CLI::App& command, ChartOptions& options) {
    command.add_option("--chart", options.chart, "folder or archive of the chart; nothing: the one of this version")->type_name("PATH");
    command.add_option("-f,--values", options.values, "file of values (charts/warren/README.md); may be repeated")->type_name("FILE");
    command.add_option("--set", options.set, "one value; may be repeated")->type_name("KEY=VALUE");
}

}  // namespace

void add_install(CLI::App& app, Context& context) {
    const auto fresh = std::make_shared<ChartOptions>(), newer = std::make_shared<ChartOptions>(), gone = std::make_shared<ChartOptions>();
    CLI::App* install =
        add_chart_command(app, "install", "the mesh into a Kubernetes cluster, by helm, if the cluster is fit for it", fresh);
    add_chart_options(*install, *fresh);
    install->add_flag("--force", fresh->force, "also where a finding speaks against it");
    install->callback([&context, fresh] { context.run = [&context, fresh] { return put_chart(context, *fresh, true); }; });
    CLI::App* upgrade = add_chart_command(app, "upgrade", "the mesh of a cluster to this version, with the values chosen before", newer);
    add_chart_options(*upgrade, *newer);
    upgrade->callback([&context, newer] { context.run = [&context, newer] { return put_chart(context, *newer, false); }; });
    CLI::App* uninstall_command = add_chart_command(app, "uninstall", "the mesh of a cluster; its pods go on without", gone);
    uninstall_command->callback([&context, gone] { context.run = [&context, gone] { return uninstall(context, *gone); }; });
}

}  // namespace warren::tools
