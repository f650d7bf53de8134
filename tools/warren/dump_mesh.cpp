// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/dump_mesh.h"

#include "policy/mesh_yaml.h"

#include <set>

namespace warren::tools {
namespace {

// The reader of mesh files bounds what stands in one {...} or [...], so the lists are block style and each record a flow of its own.
void append(std::string& out, const char* key, const std::vector<Json>& records) {
    out += std::string(key) + ":\n";
    for (const Json& record : records) out += "- " + to_text(record, -1) + '\n';
}

std::vector<Json> workloads_of(const Json& dump, const std::set<std::string>& listed) {
    std::vector<Json> out;
    for (Json w : list_at(dump, "workloads")) {
        if (!w.is_object()) continue;
        // Of the names in a dump the port mapping is with the service's endpoints; one without that service is a staged endpoint.
        Json services = Json::object();
        for (const Json& name : list_at(w, "services"))
            if (!listed.contains(text_of(name))) services[text_of(name)] = Json::object();
        w["services"] = std::move(services);
        out.push_back(std::move(w));
    }
    return out;
}

std::vector<Json> services_of(const Json& dump, std::set<std::string>& listed) {
    std::set<std::string> uids;
    for (const Json& w : list_at(dump, "workloads")) uids.insert(text_at(w, "uid"));
    std::vector<Json> out;
    for (Json s : list_at(dump, "services")) {
        if (!s.is_object()) continue;
        listed.insert(text_at(s, "namespace") + '/' + text_at(s, "hostname"));
        Json endpoints = Json::object();
        for (const auto& [uid, endpoint] : object_at(s, "endpoints").items()) {
            Json kept = {{"workloadUid", uid}, {"port", at(endpoint, "port")}};
            if (uids.contains(uid)) endpoints[uid] = std::move(kept);
        }
        s["endpoints"] = std::move(endpoints);
        out.push_back(std::move(s));
    }
    return out;
}

policy::PolicyRefusal refusal_of(const Json& p, policy::TextPool& pool) {
    policy::PolicyRefusal out;
    out.ns = pool.intern(text_at(p, "namespace"));
    out.key = pool.intern(text_at(p, "namespace") + '/' + text_at(p, "name"));
    const std::string scope = text_at(p, "scope");
    out.scope = scope == "Global"      ? policy::Scope::Global
                : scope == "Namespace" ? policy::Scope::Namespace
                                       : policy::Scope::WorkloadSelector;
    out.dry_run = flag_at(p, "dryRun");
    out.reason = text_at(p, "refusedBecause");
    return out;
}

}  // namespace

base::Result<policy::Batch> batch_of_dump(const Json& dump, const std::string& name, policy::TextPool& pool) {
    std::set<std::string> listed;
    const std::vector<Json> services = services_of(dump, listed);
    std::vector<Json> policies;
    std::vector<policy::PolicyRefusal> refused;
    for (const Json& p : list_at(dump, "policies")) {
        if (text_at(p, "refusedBecause").empty())
            policies.push_back(p);
        else
            refused.push_back(refusal_of(p, pool));
    }
    std::string text;
    append(text, "workloads", workloads_of(dump, listed));
    append(text, "services", services);
    append(text, "policies", policies);
    auto batch = policy::mesh_from_yaml(text, name, pool);
    if (!batch) return std::move(batch).error();
    for (policy::PolicyRefusal& one : refused) batch->policies.emplace_back(std::move(one));
    return batch;
}

bool is_dump(const std::string& text) {
    const size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos || text[begin] != '{') return false;
    const auto j = parse_json(text, "");
    return j && (j->contains("certificates") || j->contains("workloadState") || j->contains("config") || j->contains("staticConfig"));
}

base::Result<policy::Batch> batch_of_text(const std::string& text, const std::string& name, policy::TextPool& pool) {
    if (is_dump(text)) return batch_of_dump(TRY(parse_json(text, name)), name, pool);
    return policy::mesh_from_yaml(text, name, pool);
}

}  // namespace warren::tools
