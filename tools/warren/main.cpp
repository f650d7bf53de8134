// SPDX-License-Identifier: Apache-2.0
// warren: the command line. Exit codes: 0 done (for questions: yes), 1 the answer is no, 2 the question was wrong or could not be answered.
#include "tools/warren/convert_command.h"
#include "tools/warren/policy_command.h"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace {

int answer(const warren::base::Result<warren::tools::ExplainResult>& result) {
    if (!result) {
        std::fprintf(stderr, "warren: %s\n", result.error().message().c_str());
        return 2;
    }
    std::fputs(result->text.c_str(), stdout);
    return result->allowed ? 0 : 1;
}

int print(const warren::base::Result<warren::tools::ConvertResult>& result) {
    if (!result) {
        std::fprintf(stderr, "warren: %s\n", result.error().message().c_str());
        return 2;
    }
    for (const std::string& note : result->notes) std::fprintf(stderr, "warren: %s\n", note.c_str());
    std::fputs(result->text.c_str(), stdout);
    return result->ok ? 0 : 2;
}

CLI::App* add_convert(CLI::App& app, warren::tools::ConvertOptions& options, std::string& output) {
    CLI::App* command = app.add_subcommand("convert", "what node proxies are told of Kubernetes objects");
    command->add_option("-f,--file", options.files, "YAML or JSON file, or folder of them; - reads standard input; may be repeated")
        ->required();
    command->add_option("-o,--output", output, "json")->check(CLI::IsMember({"json"}));
    command->add_option("--cluster-id", options.settings.cluster_id, "id of the cluster")->capture_default_str();
    command->add_option("--trust-domain", options.settings.trust_domain, "trust domain of the mesh")->capture_default_str();
    command->add_option("--cluster-domain", options.settings.cluster_domain, "DNS domain of services")->capture_default_str();
    command->add_option("--root-namespace", options.settings.root_namespace, "policies of this namespace are the mesh's")
        ->capture_default_str();
    command->add_option("--revision", options.settings.revision, "objects with another istio.io/rev are passed over")
        ->capture_default_str();
    command->add_option("--network", options.settings.network, "local network, instead of the label on the system namespace");
    return command;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Asks and steers a Warren mesh.", "warren");
    app.require_subcommand(1);
    app.set_version_flag("--version", "warren " WARREN_VERSION);
    CLI::App* version = app.add_subcommand("version", "print the version");

    CLI::App* policy = app.add_subcommand("policy", "authorization policies");
    policy->require_subcommand(1);
    warren::tools::ExplainOptions explain;
    std::string output = "text";
    CLI::App* explain_command = policy->add_subcommand("explain", "would this connection be allowed, and by which rule of which policy");
    explain_command->add_option("-f,--file", explain.mesh_file, "mesh file (workloads, policies, services); - reads standard input")
        ->required();
    explain_command->add_option("FROM", explain.from, "source: NAMESPACE/NAME, uid or address")->required();
    explain_command->add_option("TO", explain.to, "destination: NAMESPACE/NAME, uid or address")->required();
    explain_command->add_option("PORT", explain.port, "destination port of the workload (after the service's mapping)")->required();
    explain_command->add_flag("--plaintext", explain.plaintext, "the connection carries no identity");
    explain_command->add_option("-o,--output", output, "text or json")->check(CLI::IsMember({"text", "json"}));

    warren::tools::ConvertOptions convert;
    CLI::App* convert_command = add_convert(app, convert, output);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (*version) {
        std::puts("warren " WARREN_VERSION);
        return 0;
    }
    if (*convert_command) return print(warren::tools::convert_files(convert));
    explain.json = output == "json";
    return answer(warren::tools::policy_explain(explain));
}
