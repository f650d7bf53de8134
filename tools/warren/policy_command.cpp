// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/commands.h"
#include "tools/warren/daemons.h"
#include "tools/warren/dump_mesh.h"
#include "tools/warren/mesh_file.h"
#include "tools/warren/policy_audit.h"
#include "tools/warren/policy_diff.h"
#include "tools/warren/policy_explain.h"
#include "tools/warren/proposal.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <ostream>

namespace warren::tools {
namespace {

base::Result<int> explain(const Context& context, ExplainOptions options) {
    options.json = !context.for_people();
    policy::Mesh mesh;
    base::Result<ExplainResult> result =
        options.mesh_file.empty()
            ? policy_explain(options, *mesh.apply(TRY(batch_of_dump(TRY(config_dump(context, "")), "the tunnel's dump", mesh.pool()))))
            : policy_explain(options);
    if (!result) return std::move(result).error();
    if (context.globals.output == "yaml")
        context.print(TRY(parse_json(result->text, "the explanation")));
    else
        context.out << result->text;
    return result->allowed ? kOk : kFindings;
}

struct DiffOptions {
    std::string file, flows, mesh;
    std::vector<std::string> removed;
    cluster::Settings settings;
};

Json as_json(const FlowDiff& diff) {
    Json changes = Json::array();
    for (const FlowChange& c : diff.changes)
        changes.push_back({{"from", c.from},
                           {"to", c.to},
                           {"was", c.was},
                           {"was_policy", c.was_policy},
                           {"would_be", c.would},
                           {"policy", c.policy},
                           {"reason", c.reason},
                           {"flows", c.flows},
                           {"latest", base::to_rfc3339(c.latest, 3)}});
    return {{"judged", diff.judged},
            {"unchanged", diff.unchanged},
            {"not_judged", diff.not_judged},
            {"unknown_workload", diff.unknown_workload},
            {"changes", changes}};
}

void print(const Context& context, const FlowDiff& diff) {
    if (!context.for_people()) return context.print(as_json(diff));
    Table table({"FLOWS", "FROM", "TO", "WAS", "WOULD BE", "BECAUSE", "LATEST"});
    for (const FlowChange& c : diff.changes)
        table.add({std::to_string(c.flows),
                   c.from,
                   c.to,
                   c.was,
                   {c.would, c.would == "denied" ? Tone::Bad : Tone::Good},
                   c.policy.empty() ? c.reason : c.policy,
                   base::to_rfc3339(c.latest, 0)});
    if (table.size() != 0) context.out << table.render(context.colour()) << '\n';
    context.out << diff.judged << " recorded flows judged again, " << diff.judged - diff.unchanged << " would change";
    if (diff.not_judged != 0) context.out << "; " << diff.not_judged << " were not judged on this node (ask the destination's)";
    if (diff.unknown_workload != 0) context.out << "; " << diff.unknown_workload << " went to workloads that are not there any more";
    context.out << '\n';
}

base::Result<int> diff(const Context& context, const DiffOptions& options) {
    ProposalInput input{TRY(read_text_file(options.file)), options.file, options.removed, options.settings};
    const Proposal proposal = TRY(propose(input, [&] { return config_dump(context, options.mesh); }));
    for (const std::string& note : proposal.notes) context.note(note);
    FlowDiffer differ(*proposal.mesh);
    for (const Flow& flow : TRY(load_flows(context, options.flows))) differ.add(flow.record);
    const FlowDiff result = differ.result();
    print(context, result);
    return result.changes.empty() ? kOk : kFindings;
}

struct AuditOptions {
    std::string mesh, flows;
    bool quiet = false;
};

base::Result<int> audit(const Context& context, const AuditOptions& options) {
    const Json dump = TRY(config_dump(context, options.mesh));
    auto flows = load_flows(context, options.flows);
    if (!flows && !options.flows.empty()) return std::move(flows).error();
    if (!flows) context.note("without flows, so nothing is said of what policies decided: " + flows.error().message());
    return report(context, audit_policies(dump, flows ? &*flows : nullptr), options.quiet, Severity::Warning);
}

void add_explain(CLI::App& policy, Context& context) {
    CLI::App* command = policy.add_subcommand("explain", "would this connection be allowed, and by which rule of which policy");
    const auto options = std::make_shared<ExplainOptions>();
    command->add_option("-f,--file", options->mesh_file, "mesh file or dump instead of the tunnel; - reads standard input")
        ->type_name("FILE");
    command->add_option("FROM", options->from, "source: NAMESPACE/NAME, uid or address")->required();
    command->add_option("TO", options->to, "destination: NAMESPACE/NAME, uid or address")->required();
    command->add_option("PORT", options->port, "destination port of the workload (after the service's mapping)")->required();
    command->add_flag("--plaintext", options->plaintext, "the connection carries no identity");
    command->callback([&context, options] { context.run = [&context, options] { return explain(context, *options); }; });
}

void add_diff(CLI::App& policy, Context& context) {
    CLI::App* command = policy.add_subcommand("diff", "what of the recorded flows would be decided otherwise under the policies of a file");
    const auto options = std::make_shared<DiffOptions>();
    command->add_option("FILE", options->file, "mesh file, dump or Kubernetes manifests; policies alone are laid over the mesh there is")
        ->required();
    command->add_option("--flows", options->flows, "JSON lines of a flow log instead of the agent")->type_name("FILE");
    command->add_option("--mesh", options->mesh, "a dump instead of the tunnel's mesh")->type_name("FILE");
    command->add_option("--remove", options->removed, "as if this policy were gone; may be repeated")
        ->type_name("NAMESPACE/NAME")
        ->allow_extra_args(false);
    command->add_option("--root-namespace", options->settings.root_namespace, "of manifests: policies of this namespace are the mesh's")
        ->type_name("NAMESPACE")
        ->capture_default_str();
    command->callback([&context, options] { context.run = [&context, options] { return diff(context, *options); }; });
}

void add_audit(CLI::App& policy, Context& context) {
    CLI::App* command = policy.add_subcommand("audit", "refused, missing, unused and wide-open policies, and what dry runs would change");
    const auto options = std::make_shared<AuditOptions>();
    command->add_option("-f,--file", options->mesh, "a dump instead of the tunnel's mesh; - reads standard input")->type_name("FILE");
    command->add_option("--flows", options->flows, "JSON lines of a flow log instead of the agent")->type_name("FILE");
    command->add_flag("-q,--quiet", options->quiet, "without what is in order");
    command->callback([&context, options] { context.run = [&context, options] { return audit(context, *options); }; });
}

}  // namespace

void add_policy(CLI::App& app, Context& context) {
    CLI::App* policy = app.add_subcommand("policy", "questions about authorization policies");
    policy->require_subcommand(1);
    add_explain(*policy, context);
    add_diff(*policy, context);
    add_audit(*policy, context);
}

}  // namespace warren::tools
