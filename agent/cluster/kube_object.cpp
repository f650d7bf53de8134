// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/keys.h"
#include "agent/cluster/kube_source.h"
#include "agent/cluster/read_objects.h"

#include <nlohmann/json.hpp>

namespace warren::cluster {

using nlohmann::json;

namespace {

// Annotations of others can be larger than all the rest, and every one that is read has a name of Istio's.
template <class T>
void trim(std::vector<T>& objects) {
    for (T& object : objects) {
        object.meta.where = "Kubernetes";
        std::erase_if(object.meta.annotations, [](const auto& entry) { return entry.first.find("istio.io/") == std::string::npos; });
    }
}

void trim_all(Objects& all) {
    trim(all.pods);
    trim(all.nodes);
    trim(all.namespaces);
    trim(all.services);
    trim(all.slices);
    trim(all.workload_entries);
    trim(all.service_entries);
    trim(all.gateways);
    trim(all.gateway_classes);
    trim(all.authorization_policies);
    trim(all.peer_authentications);
}

ReadObject read(std::string_view text, const std::string& name) {
    ObjectReader reader;
    reader.add_json(text, name);
    ReadObject out{std::move(reader.objects()), reader.problems().errors()};
    trim_all(out.fragment);
    return out;
}

std::string name_of(ObjectKind kind, const kube::Object& object) {
    return std::string(to_string(kind)) + ' ' + (object.ns.empty() ? object.name : object.key());
}

// The spec that lets nothing through; nothing where the policy is not for node proxies at all.
json strictest_spec(ObjectKind kind, const json& spec) {
    json out = json::object();
    if (spec.contains("selector")) out["selector"] = spec["selector"];
    if (kind == ObjectKind::PeerAuthentication) {
        out["mtls"] = {{"mode", "STRICT"}};
        return out;
    }
    for (const char* target : {"targetRef", "targetRefs"})
        if (spec.contains(target)) out[target] = spec[target];
    const json action = spec.value("action", json("ALLOW"));
    if (action == "AUDIT" || action == "CUSTOM" || action == "ALLOW") {
        out["action"] = action;  // an ALLOW without rules allows nothing, and takes nothing from the others
    } else {
        out["action"] = "DENY";
        out["rules"] = json::array({json::object()});
    }
    return out;
}

// Whose the policy is, and whether it is to be enforced at all: what another revision judges, or what is only tried, stays so.
void keep_meta(const json& object, const char* map, std::string_view key, json& to) {
    const json meta = object.value("metadata", json::object());
    const json all = meta.is_object() ? meta.value(map, json::object()) : json::object();
    const auto found = all.find(key);
    if (all.is_object() && found != all.end() && found->is_string()) to["metadata"][map][std::string(key)] = *found;
}

}  // namespace

ReadObject read_kube_object(ObjectKind kind, const kube::Object& object) { return read(object.json, name_of(kind, object)); }

ReadObject strictest_reading(ObjectKind kind, const kube::Object& object) {
    if (kind != ObjectKind::AuthorizationPolicy && kind != ObjectKind::PeerAuthentication) return {};
    json stub = {{"apiVersion", "security.istio.io/v1"},
                 {"kind", to_string(kind)},
                 {"metadata", {{"namespace", object.ns}, {"name", object.name}, {"uid", object.uid}}},
                 {"spec", json::object()}};
    const json parsed = json::parse(object.json, nullptr, false);
    const json spec = parsed.is_object() ? parsed.value("spec", json::object()) : json::object();
    if (parsed.is_object()) {
        const json meta = parsed.value("metadata", json::object());
        if (meta.is_object() && meta.contains("generation")) stub["metadata"]["generation"] = meta["generation"];
        keep_meta(parsed, "labels", keys::kRevision, stub);
        keep_meta(parsed, "annotations", keys::kDryRun, stub);
    }
    stub["spec"] = strictest_spec(kind, spec.is_object() ? spec : json::object());
    ReadObject out = read(stub.dump(), name_of(kind, object));
    if (!out.errors.empty()) {
        stub["spec"].erase("selector");
        out = read(stub.dump(), name_of(kind, object));
    }
    for (AuthorizationPolicy& policy : out.fragment.authorization_policies) policy.unread = true;
    return out;
}

}  // namespace warren::cluster
