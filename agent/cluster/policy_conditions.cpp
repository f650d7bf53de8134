// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/policy_conditions.h"

#include "base/bytes.h"

#include <algorithm>
#include <set>
#include <utility>

namespace warren::cluster {

namespace {

constexpr std::string_view kGatewayGroup = "gateway.networking.k8s.io";
constexpr std::string_view kWaypointClass = "istio-waypoint";

// Which of the objects that policies name exist: found by one look through them, which takes no index of all there are.
class Present {
  public:
    using Name = std::pair<std::string_view, std::string_view>;  // namespace, name

    void ask(std::string_view kind, const Name& name) { asked_[kind].insert(name); }
    template <class T>
    void look(std::string_view kind, const std::vector<T>& list) {
        const auto asked = asked_.find(kind);
        if (asked == asked_.end()) return;
        for (const T& object : list)
            if (const Name name(object.meta.ns, object.meta.name); asked->second.contains(name)) there_[kind].insert(name);
    }
    [[nodiscard]] bool there(std::string_view kind, const Name& name) const {
        const auto found = there_.find(kind);
        return found != there_.end() && found->second.contains(name);
    }

  private:
    std::map<std::string_view, std::set<Name>> asked_, there_;
};

// What is asked about one target.
struct Question {
    const ObjectMeta& policy;
    const PolicyTarget& target;
    const PolicyTargets::Mesh& mesh;
    const Present& present;
    std::string name;  // "KIND NS/NAME", for messages
};

Ancestor invalid(std::string message) { return {false, "Invalid", std::move(message)}; }
Ancestor not_found(const Question& q) { return {false, "TargetNotFound", q.name + " is not there"}; }
Ancestor not_bound(std::string message) { return {false, "AncestorNotBound", std::move(message)}; }
Ancestor accepted(std::string message) { return {true, "Accepted", std::move(message)}; }

// Contract 6.6: a class reaches all its waypoints, which is the mesh's business.
Ancestor of_class(const Question& q) {
    if (q.policy.ns != q.mesh.root_namespace)
        return invalid("a GatewayClass is a target for policies of namespace " + q.mesh.root_namespace + " only");
    if (q.target.name != kWaypointClass) return invalid("of GatewayClasses only " + std::string(kWaypointClass) + " is a target");
    return q.present.there("GatewayClass", {"", q.target.name}) ? accepted("bound to the waypoints of " + q.name) : not_found(q);
}

Ancestor of_gateway(const Question& q) {
    if (!q.present.there("Gateway", {q.policy.ns, q.target.name})) return not_found(q);
    if (q.mesh.waypoints.find(q.policy.ns, q.target.name) == nullptr)
        return not_bound(q.name + " is not ready: its status has no address that can be used");
    return accepted("bound to " + q.name);
}

Ancestor of_service(const Question& q, ObjectKind kind) {
    if (!q.present.there(q.target.kind, {q.policy.ns, q.target.name})) return not_found(q);
    const Told* bound = q.mesh.bound(kind, q.policy.ns + '/' + q.target.name);
    if (bound == nullptr) return not_bound(q.name + " is bound to no waypoint: give it one with label istio.io/use-waypoint");
    return bound->status ? accepted("bound to the waypoint of " + q.name) : not_bound(q.name + ": " + bound->message);
}

Ancestor ancestor(const Question& q) {
    const auto is = [&](std::string_view group, std::string_view kind) { return q.target.group == group && q.target.kind == kind; };
    if (is(kGatewayGroup, "GatewayClass")) return of_class(q);
    if (!q.target.ns.empty() && q.target.ns != q.policy.ns)
        return invalid(q.name + " would be in namespace " + base::quoted(q.target.ns) + "; give a target in the policy's own");
    if (is(kGatewayGroup, "Gateway")) return of_gateway(q);
    if (is("", "Service") || is("core", "Service")) return of_service(q, ObjectKind::Service);
    if (is("networking.istio.io", "ServiceEntry")) return of_service(q, ObjectKind::ServiceEntry);
    return invalid("kind " + base::quoted(q.target.kind) + " of group " + base::quoted(q.target.group) +
                   " is no target; give a Service, ServiceEntry, Gateway or GatewayClass");
}

// "Kubernetes: AuthorizationPolicy NS/NAME: WHY" or "AuthorizationPolicy NS/NAME: WHY": the object says itself who it is.
std::string without_name(const std::string& text, const AuthorizationPolicy& policy) {
    const std::string name = policy.meta.key() + ": ";
    const size_t at = text.find(name);
    return at == std::string::npos ? text : text.substr(at + name.size());
}

}  // namespace

Told ztunnel_accepted(const AuthorizationPolicy& policy, bool enforced, const Diagnostics& problems) {
    std::string text;
    for (const auto* lines : {&problems.errors(), &problems.warnings()})
        for (const std::string& line : *lines) text += (text.empty() ? "" : "; ") + without_name(line, policy);
    if (!enforced && text.empty()) text = "annotation istio.io/dry-run: the policy is not enforced";
    if (text.empty()) return {ConditionType::ZtunnelAccepted, enforced, "Accepted", "enforced by node proxies"};
    return {ConditionType::ZtunnelAccepted, enforced, "UnsupportedValue", std::move(text)};
}

Told unread(const AuthorizationPolicy& policy) {
    if (policy.has_target) return {ConditionType::WaypointAccepted, false, "Invalid", "the policy cannot be read"};
    return {ConditionType::ZtunnelAccepted, false, "UnsupportedValue",
            "the policy cannot be read; what stands for it until then lets nothing through"};
}

Told waypoint_accepted(std::span<const Ancestor> ancestors) {
    Told out{ConditionType::WaypointAccepted, false, "", ""};
    if (ancestors.size() == 1) {
        const Ancestor& only = ancestors.front();
        return {out.type, only.bound, only.reason, only.message};
    }
    size_t bound = 0;
    bool same = true;  // those that are not bound, for one reason
    for (const Ancestor& one : ancestors) {
        bound += one.bound ? 1 : 0;
        if (one.bound) continue;
        same = same && (out.reason.empty() || out.reason == one.reason);
        out.reason = one.reason;
        out.message += (out.message.empty() ? "" : "; ") + one.message;
    }
    out.status = bound != 0;
    if (bound == ancestors.size()) return {out.type, true, "Accepted", "bound to the waypoints of all its targets"};
    if (bound != 0) {
        out.reason = "PartiallyInvalid";
        out.message = std::to_string(bound) + " of " + std::to_string(ancestors.size()) + " targets are bound; " + out.message;
    } else if (!same) {
        out.reason = "Invalid";
    }
    return out;
}

void PolicyTargets::put(const std::string& key, const AuthorizationPolicy* policy) {
    if (policy != nullptr && policy->has_target)
        policies_.insert_or_assign(key, Policy{policy->meta, policy->targets});
    else
        policies_.erase(key);
}

void PolicyTargets::settle(const Mesh& mesh, const std::function<void(const std::string&, const ObjectMeta&, Told)>& tell) const {
    if (policies_.empty()) return;
    Present present;
    for (const auto& [key, policy] : policies_)
        for (const PolicyTarget& target : policy.targets)
            present.ask(target.kind, {target.kind == "GatewayClass" ? std::string_view() : policy.meta.ns, target.name});
    present.look("Service", mesh.objects.services);
    present.look("ServiceEntry", mesh.objects.service_entries);
    present.look("Gateway", mesh.objects.gateways);
    present.look("GatewayClass", mesh.objects.gateway_classes);
    for (const auto& [key, policy] : policies_) {
        std::vector<Ancestor> ancestors;
        for (const PolicyTarget& target : policy.targets) {
            const std::string ns = target.kind == "GatewayClass" ? "" : policy.meta.ns + '/';
            ancestors.push_back(ancestor({policy.meta, target, mesh, present, target.kind + ' ' + ns + target.name}));
        }
        tell(key, policy.meta, waypoint_accepted(ancestors));
    }
}

}  // namespace warren::cluster
