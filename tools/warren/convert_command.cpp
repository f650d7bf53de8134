// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/discovery_selectors.h"
#include "tools/warren/commands.h"
#include "tools/warren/convert_files.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <ostream>

namespace warren::tools {
namespace {

struct Options : ConvertOptions {
    std::string discovery, service_entries = "public";
};

base::Result<int> convert(const Context& context, Options options) {
    using Visibility = cluster::Settings::Visibility;
    auto discovery = cluster::read_discovery_selectors(options.discovery);
    if (!discovery) return std::move(discovery).error().with("--discovery-selectors");
    options.settings.discovery = std::move(*discovery);
    if (options.service_entries == "namespace") options.settings.service_entries = Visibility::Namespace;
    if (options.service_entries == "none") options.settings.service_entries = Visibility::None;
    const ConvertResult result = TRY(convert_files(options));
    for (const std::string& note : result.notes) context.note(note);
    if (result.text.empty()) return kFailed;
    if (context.globals.output == "yaml")
        context.print(TRY(parse_json(result.text, "the conversion")));
    else
        context.out << result.text;
    return result.ok ? kOk : kFailed;
}

}  // namespace

void add_convert(CLI::App& app, Context& context) {
    CLI::App* command = app.add_subcommand("convert", "what node proxies are told of Kubernetes objects, as JSON");
    const auto options = std::make_shared<Options>();
    command->add_option("-f,--file", options->files, "YAML or JSON file, or folder of them; - reads standard input; may be repeated")
        ->type_name("FILE")
        ->required();
    const auto text = [&](const char* name, std::string& to, const char* what) {
        command->add_option(name, to, what)->capture_default_str();
    };
    text("--cluster-id", options->settings.cluster_id, "id of the cluster");
    text("--trust-domain", options->settings.trust_domain, "trust domain of the mesh");
    text("--cluster-domain", options->settings.cluster_domain, "DNS domain of services");
    text("--root-namespace", options->settings.root_namespace, "policies of this namespace are the mesh's");
    text("--system-namespace", options->settings.system_namespace, "its network label names the local network");
    text("--revision", options->settings.revision, "objects with another istio.io/rev are passed over");
    command->add_option("--network", options->settings.network, "local network, instead of the label on the system namespace");
    command->add_flag("--dry-run-policies", options->settings.dry_run_policies, "with those marked istio.io/dry-run");
    command
        ->add_option("--discovery-selectors", options->discovery,
                     "namespaces that belong to the mesh, as MeshConfig's discoverySelectors (YAML); nothing: all")
        ->type_name("YAML");
    command->add_option("--service-entry-visibility", options->service_entries, "who is told of hosts of ServiceEntries")
        ->type_name("WHO")
        ->check(CLI::IsMember({"public", "namespace", "none"}))
        ->capture_default_str();
    command->callback([&context, options] { context.run = [&context, options] { return convert(context, *options); }; });
}

}  // namespace warren::tools
