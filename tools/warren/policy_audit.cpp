// SPDX-License-Identifier: Apache-2.0
#include "tools/warren/policy_audit.h"

#include <algorithm>
#include <map>
#include <set>

namespace warren::tools {
namespace {

constexpr size_t kNamed = 5;  // of a list in a sentence

std::string key_of(const Json& p) { return text_at(p, "namespace") + '/' + text_at(p, "name"); }

// Who may come in by this match: everybody, anybody with an identity, or fewer.
enum class Reach : uint8_t { Fewer, AnyIdentity, Everybody };

bool only_presence(const Json& list) {
    return !list.empty() && std::any_of(list.begin(), list.end(), [](const Json& m) { return m.is_object() && m.contains("Presence"); });
}

// Ports and destination addresses do not say who comes.
Reach reach_of_match(const Json& match) {
    bool identity = false;
    for (const auto& [key, list] : match.items()) {
        if (key == "destinationPorts" || key == "notDestinationPorts" || key == "destinationIps" || key == "notDestinationIps") continue;
        if ((key == "principals" || key == "namespaces") && only_presence(list))
            identity = true;
        else
            return Reach::Fewer;
    }
    return identity ? Reach::AnyIdentity : Reach::Everybody;
}

// Clauses are AND-ed, the matches in one OR-ed.
Reach reach_of_rule(const Json& rule) {
    Reach least = Reach::Everybody;
    for (const Json& clause : rule) {
        if (!clause.is_array() || clause.empty()) continue;
        Reach most = Reach::Fewer;
        for (const Json& match : clause)
            if (match.is_object() && !match.empty()) most = std::max(most, reach_of_match(match));
        least = std::min(least, most);
    }
    return least;
}

struct Auditor {
    const Json& dump;
    const std::vector<Flow>* flows;
    Findings out = {};
    std::set<std::string> known = {};                 // policies
    std::map<std::string, size_t> listed = {};        // by workloads
    std::map<std::string, size_t> in_namespace = {};  // workloads

    void read() {
        for (const Json& p : list_at(dump, "policies")) known.insert(key_of(p));
        for (const Json& w : list_at(dump, "workloads")) {
            ++in_namespace[text_at(w, "namespace")];
            for (const Json& name : list_at(w, "authorizationPolicies")) ++listed[text_of(name)];
        }
    }

    void policy(const Json& p) {
        const std::string key = key_of(p), scope = text_at(p, "scope");
        const size_t found = out.size();
        if (const std::string why = text_at(p, "refusedBecause"); !why.empty())
            out.push_back({Severity::Error, "policy", key + " was refused, and what it selects denies everything: " + why,
                           "correct the policy; `kubectl get` it where it was made"});
        const bool selects = scope == "WorkloadSelector", idle = scope == "Namespace" && !in_namespace.contains(text_at(p, "namespace"));
        if ((selects && !listed.contains(key)) || idle)
            out.push_back({Severity::Note, "policy", key + " applies to no workload this node knows",
                           selects ? "check its selector against the pods' labels, or remove it" : "check its namespace, or remove it"});
        if (text_at(p, "action") == "Allow") allows(p, key);
        if (list_at(p, "rules").empty() && text_at(p, "refusedBecause").empty() && text_at(p, "action") == "Deny")
            out.push_back({Severity::Note, "policy", key + " has no rules: it denies nothing", "give it a rule, or remove it"});
        if (out.size() == found) out.push_back({Severity::Ok, "policy", key + ": " + text_at(p, "action") + ", " + scope, ""});
    }

    void allows(const Json& p, const std::string& key) {
        size_t number = 0;
        for (const Json& rule : list_at(p, "rules")) {
            ++number;
            const std::string where = key + ", rule " + std::to_string(number);
            switch (reach_of_rule(rule)) {
                case Reach::Everybody:
                    out.push_back({Severity::Warning, "allow-all", where + " allows every source, without an identity too",
                                   "name the principals or namespaces that may connect"});
                    break;
                case Reach::AnyIdentity:
                    out.push_back({Severity::Note, "allow-all", where + " allows every identity of the mesh",
                                   "name the principals that may connect, if that is not meant"});
                    break;
                case Reach::Fewer: break;
            }
        }
    }

    void workloads() {
        std::vector<std::string> open;
        bool global = false;
        std::set<std::string> covered;
        for (const Json& p : list_at(dump, "policies")) {
            if (flag_at(p, "dryRun")) continue;
            global = global || text_at(p, "scope") == "Global";
            if (text_at(p, "scope") == "Namespace") covered.insert(text_at(p, "namespace"));
        }
        for (const Json& w : list_at(dump, "workloads")) {
            const std::string name = text_at(w, "namespace") + '/' + text_at(w, "name");
            for (const Json& key : list_at(w, "authorizationPolicies"))
                if (!known.contains(text_of(key)))
                    out.push_back({Severity::Error, "workload",
                                   name + " lists policy " + text_of(key) + ", which has not arrived: it denies everything",
                                   "see whether the control plane sends it: `warren status`, its log"});
            const bool in_mesh = text_at(w, "protocol") == "HBONE";
            if (in_mesh && !global && !covered.contains(text_at(w, "namespace")) && list_at(w, "authorizationPolicies").empty())
                open.push_back(name);
        }
        if (open.empty()) return;
        std::string names;
        for (size_t i = 0; i < std::min(open.size(), kNamed); ++i) names += (i == 0 ? "" : ", ") + open[i];
        if (open.size() > kNamed) names += " and " + std::to_string(open.size() - kNamed) + " more";
        out.push_back({Severity::Note, "workload",
                       std::to_string(open.size()) +
                           (open.size() == 1 ? " workload of the mesh has no policy" : " workloads of the mesh have no policy") +
                           ", so everybody may connect: " + names,
                       "a policy for the namespace closes that"});
    }

    void recorded() {
        std::map<std::string, uint64_t> differs;
        std::set<std::string> used;
        for (const Flow& f : *flows) {
            const FlowRecord& r = f.record;
            used.insert(r.decision.policy);
            used.insert(r.dry_run.policy);
            const bool judged = r.decision.verdict == "allowed" || r.decision.verdict == "denied";
            if (judged && !r.dry_run.verdict.empty() && r.dry_run.verdict != r.decision.verdict)
                ++differs[r.from_shown() + " -> " + r.to_shown() + ": " + r.decision.verdict + " now, " + r.dry_run.verdict + " under " +
                          (r.dry_run.policy.empty() ? "the policies in dry run" : r.dry_run.policy)];
        }
        for (const auto& [what, count] : differs)
            out.push_back({Severity::Warning, "dry-run", what + " (" + std::to_string(count) + (count == 1 ? " flow)" : " flows)"),
                           "change the policy before it is enforced, if this traffic is meant"});
        if (flows->empty()) return;
        for (const std::string& key : known)
            if (!used.contains(key) && key.find("/istio_converted_") == std::string::npos)
                out.push_back(
                    {Severity::Note, "unused", key + " decided none of the " + std::to_string(flows->size()) + " recorded flows", ""});
    }
};

}  // namespace

Findings audit_policies(const Json& dump, const std::vector<Flow>* flows) {
    Auditor audit{dump, flows};
    audit.read();
    for (const Json& p : list_at(dump, "policies")) audit.policy(p);
    audit.workloads();
    if (flows != nullptr) audit.recorded();
    return std::move(audit.out);
}

}  // namespace warren::tools
