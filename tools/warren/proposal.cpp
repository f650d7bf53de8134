// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/proposal.h"

#include "agent/cluster/read_objects.h"
#include "policy/mesh_proto.h"
#include "tools/warren/dump_mesh.h"

#include <algorithm>

namespace warren::tools {
namespace {

bool is_manifest(const std::string& text) {
    return text.starts_with("apiVersion:") || text.starts_with("kind:") || text.find("\napiVersion:") != std::string::npos ||
           (text.find("\"apiVersion\"") != std::string::npos && !is_dump(text));
}

base::Result<policy::Batch> batch_of_manifest(const ProposalInput& input, policy::RecordPool& pool, std::vector<std::string>& notes) {
    cluster::ObjectReader reader;
    reader.add(input.text, input.name);
    cluster::Diagnostics& problems = reader.problems();
    const cluster::Outputs outputs = cluster::convert(reader.objects(), input.settings, problems);
    if (problems.error_count() != 0)
        return base::invalid(problems.errors().empty() ? input.name + " has errors" : problems.errors().front());
    for (const std::string& warning : problems.warnings()) notes.push_back(warning);
    policy::Batch batch;
    for (const auto& [uid, workload] : outputs.workloads) batch.workloads.push_back(TRY(policy::workload_from_proto(workload, pool)));
    for (const auto& [key, service] : outputs.services) batch.services.push_back(TRY(policy::service_from_proto(service, pool)));
    for (const auto& [key, authorization] : outputs.authorizations) {
        auto read = policy::policy_from_proto(key, authorization, pool);
        if (const auto* refused = std::get_if<policy::PolicyRefusal>(&read))
            notes.push_back("policy " + key + " is refused: " + refused->reason);
        batch.policies.push_back(std::move(read));
    }
    return batch;
}

// Selectors are resolved by the control plane, so a policy that no workload lists cannot be placed here.
void note_unplaced(const policy::Batch& laid, const policy::Snapshot& mesh, std::vector<std::string>& notes) {
    std::vector<std::string> listed;
    mesh.each_workload([&](const policy::Workload& w) {
        for (const policy::Text& key : w.authorization_policies) listed.push_back(key.str());
    });
    std::sort(listed.begin(), listed.end());
    for (const auto& p : laid.policies) {
        const auto* spec = std::get_if<policy::PolicySpec>(&p);
        if (spec == nullptr || spec->scope != policy::Scope::WorkloadSelector) continue;
        if (spec->name.view() == "istio_converted_static_strict") continue;  // in every conversion
        if (!std::binary_search(listed.begin(), listed.end(), spec->key.str()))
            notes.push_back("policy " + spec->key.str() +
                            " selects workloads by label, and none of the mesh lists it yet: it changes nothing here; "
                            "add the pods' manifests to the file, or the policy to authorizationPolicies of its workloads");
    }
}

}  // namespace

base::Result<Proposal> propose(const ProposalInput& input, const std::function<base::Result<Json>()>& current) {
    Proposal out;
    policy::Mesh mesh;
    policy::Batch proposed = is_manifest(input.text) ? TRY(batch_of_manifest(input, mesh.pool(), out.notes))
                                                     : TRY(batch_of_text(input.text, input.name, mesh.pool()));
    out.whole = !proposed.workloads.empty();
    if (!out.whole) {
        if (proposed.policies.empty() && input.removed.empty())
            return base::invalid(input.name + " has no policies; there is nothing to compare");
        mesh.apply(TRY(batch_of_dump(TRY(current()), "the mesh", mesh.pool())));
        note_unplaced(proposed, *mesh.snapshot(), out.notes);
        proposed.services.clear();
    }
    for (const std::string& key : input.removed) {
        const bool there =
            mesh.snapshot()->policy(key) || std::any_of(proposed.policies.begin(), proposed.policies.end(), [&](const auto& p) {
                return std::visit([&](const auto& one) { return one.key.view() == key; }, p);
            });
        if (!there) return base::Error{base::Errc::NotFound, 0, "", "--remove " + key + ": no such policy; name it by NAMESPACE/NAME"};
    }
    proposed.removed_policies = input.removed;
    out.mesh = mesh.apply(std::move(proposed));
    return out;
}

}  // namespace warren::tools
