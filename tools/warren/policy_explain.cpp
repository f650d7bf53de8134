// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/policy_explain.h"

#include "policy/explain.h"
#include "tools/warren/mesh_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace warren::tools {

namespace {

using Json = nlohmann::ordered_json;

std::string named(const policy::Workload& w) { return w.ns.str() + '/' + w.name.str(); }

base::Result<base::IpAddr> address_of(const policy::Workload& w) {
    if (w.addresses.empty()) return base::invalid("workload " + named(w) + " has no address, so no connection reaches it");
    return w.addresses.front();
}

Json as_json(const policy::Explanation& explanation, const policy::Connection& connection) {
    Json policies = Json::array();
    for (const policy::PolicyTrace& p : explanation.policies) {
        Json rules = Json::array();
        for (const policy::RuleTrace& r : p.rules) rules.push_back({{"matched", r.matched}, {"whyNot", r.why_not}});
        policies.push_back({{"policy", p.policy->key().str()},
                            {"action", p.policy->action() == policy::PolicyAction::Deny ? "Deny" : "Allow"},
                            {"dryRun", p.policy->dry_run()},
                            {"matched", p.matched},
                            {"note", p.note},
                            {"rules", std::move(rules)}});
    }
    Json missing = Json::array();
    for (const policy::Text& name : explanation.missing) missing.push_back(name.str());
    const policy::Decision& d = explanation.decision;
    return {{"allowed", d.allowed},
            {"reason", policy::to_string(d.reason)},
            {"policy", d.policy != nullptr ? Json(d.policy->key().str()) : Json()},
            {"rule", d.policy != nullptr ? Json(d.rule) : Json()},
            {"source", connection.src_identity != nullptr ? connection.src_identity->uri() : "plaintext"},
            {"sourceAddress", connection.src.ip.to_string()},
            {"destination", connection.dst.to_string()},
            {"policies", std::move(policies)},
            {"missing", std::move(missing)}};
}

}  // namespace

base::Result<ExplainResult> policy_explain(const ExplainOptions& options) {
    return policy_explain(options, *TRY(load_mesh_file(options.mesh_file)));
}

base::Result<ExplainResult> policy_explain(const ExplainOptions& options, const policy::Snapshot& mesh) {
    const policy::WorkloadRef to = TRY(find_workload(mesh, options.to));
    policy::Connection connection;
    connection.dst = {TRY(address_of(*to)), options.port};
    policy::Identity identity;
    auto from = find_workload(mesh, options.from);
    if (from) {
        connection.src.ip = TRY(address_of(**from));
        identity = (*from)->identity();
    } else if (auto ip = base::IpAddr::parse(options.from); ip && options.plaintext) {
        connection.src.ip = *ip;  // somebody outside the mesh
    } else {
        return std::move(from).error();
    }
    if (!options.plaintext) connection.src_identity = &identity;

    const auto set = mesh.policies_for(*to);
    const policy::Explanation explanation = policy::explain(*set, connection);
    ExplainResult result;
    result.allowed = explanation.decision.allowed;
    if (options.json) {
        result.text = as_json(explanation, connection).dump(2) + '\n';
        return result;
    }
    result.text = fmt::format("{} {} -> {} {}\n", options.plaintext ? "plaintext" : identity.uri(), connection.src.ip.to_string(),
                              named(*to), connection.dst.to_string());
    result.text += explanation.to_string();
    if (!result.text.ends_with('\n')) result.text += '\n';
    return result;
}

}  // namespace warren::tools
