// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/read_objects.h"

#include "agent/cluster/document_json.h"
#include "agent/cluster/read_kinds.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "policy/document_yaml.h"

#include <algorithm>

namespace warren::cluster {

using policy::Document;
using policy::Node;

namespace {

// The API server puts the name of a namespace among its labels, for selectors.
Namespace read_namespace(const FieldMap& object) {
    Namespace out{read_meta(object, false)};
    out.meta.labels.emplace("kubernetes.io/metadata.name", out.meta.name);
    return out;
}

struct Kind {
    std::string_view group, kind;
    void (*read)(const FieldMap& object, Objects& to);  // null: known, and nothing of it is needed
};

// Reads the object and keeps it if nothing was wrong with it.
template <auto Read, auto List>
void keep(const FieldMap& object, Objects& to) {
    auto value = Read(object);
    if (!object.reading().failed) (to.*List).push_back(std::move(value));
}

template <class T>
T read_meta_only(const FieldMap& object) {
    return T{read_meta(object, false)};
}

constexpr Kind kKinds[] = {
    {"", "Pod", keep<read_pod, &Objects::pods>},
    {"", "Node", keep<read_meta_only<KubeNode>, &Objects::nodes>},
    {"", "Namespace", keep<read_namespace, &Objects::namespaces>},
    {"", "Service", keep<read_service, &Objects::services>},
    {"", "ServiceAccount", nullptr},
    {"discovery.k8s.io", "EndpointSlice", keep<read_slice, &Objects::slices>},
    {"networking.istio.io", "WorkloadEntry", keep<read_workload_entry, &Objects::workload_entries>},
    {"networking.istio.io", "ServiceEntry", keep<read_service_entry, &Objects::service_entries>},
    {"gateway.networking.k8s.io", "Gateway", keep<read_gateway, &Objects::gateways>},
    {"gateway.networking.k8s.io", "GatewayClass", keep<read_meta_only<GatewayClass>, &Objects::gateway_classes>},
    {"security.istio.io", "AuthorizationPolicy", keep<read_authorization_policy, &Objects::authorization_policies>},
    {"security.istio.io", "PeerAuthentication", keep<read_peer_authentication, &Objects::peer_authentications>},
};

const Kind* find_kind(std::string_view group, std::string_view kind) {
    const auto found =
        std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.group == group && k.kind == kind; });
    return found == std::end(kKinds) ? nullptr : found;
}

// The line of the first byte that is not UTF-8, 0 when all are.
size_t bad_utf8_line(std::string_view text) {
    size_t line = 1;
    while (!text.empty()) {
        const base::Utf8Char c = base::decode_utf8(text);
        if (!c.valid) return line;
        if (c.point == U'\n') ++line;
        text.remove_prefix(c.length);
    }
    return 0;
}

// Foreign text on one line of a message.
std::string shown(std::string_view text) {
    const std::string quoted = base::quoted(text);
    return quoted.substr(1, quoted.size() - 2);
}

bool looks_like_json(std::string_view text) {
    const size_t start = text.find_first_not_of(" \t\r\n");
    return start != std::string_view::npos && (text[start] == '{' || text[start] == '[');
}

// An object of Kubernetes says what it is; a document that does not, and has this key, is the list.
bool is_workload_list(Node root) {
    if (!root.is(Node::Kind::Map)) return false;
    bool found = false;
    for (Node key = root.first(); key; key = key.next().next()) {
        if (key.text() == "apiVersion" || key.text() == "kind") return false;
        found = found || key.text() == "workloads";
    }
    return found;
}

}  // namespace

void ObjectReader::add(std::string_view text, std::string_view name) {
    if (const size_t line = bad_utf8_line(text)) {
        problems_.error(std::string(name) + ":" + std::to_string(line) + ": not UTF-8; save the file as UTF-8");
        return;
    }
    if (looks_like_json(text)) {
        auto json = document_from_json(text, name);
        if (json) return add_document(json->root());
        if (name.ends_with(".json")) return problems_.error(json.error().detail);  // else perhaps YAML that begins so
    }
    auto documents = policy::documents_from_yaml(text, name);
    if (!documents) return problems_.error(documents.error().detail);
    for (const Document& document : *documents) add_document(document.root());
}

void ObjectReader::add_json(std::string_view text, std::string_view name) {
    const auto json = document_from_json(text, name, Lines::Off);
    if (!json) return problems_.error(json.error().detail);
    add_object(json->root(), {});
}

void ObjectReader::add_document(Node root) {
    if (is_workload_list(root)) return add_workloads(root);
    if (!root.is(Node::Kind::Sequence)) return add_object(root, {});
    for (const Node element : root) add_object(element, {});
}

void ObjectReader::add_object(Node node, const ListOf& list) {
    Reading reading{problems_};
    const FieldMap object(node, reading);
    std::string version = object.text("apiVersion"), kind = object.text("kind");
    if (kind.empty() && !list.kind.empty()) {  // elements of a PodList leave both out
        kind = list.kind;
        version = list.version;
    }
    if (reading.failed) return;
    if (version.empty() || kind.empty()) return reading.refuse(node, "apiVersion or kind is missing; every object needs both");
    if (kind.ends_with("List") && !list.inside) {
        const ListOf inner{true, version, kind.substr(0, kind.size() - 4)};
        for (const Node item : object.list("items")) add_object(item, inner);
        return;
    }
    const size_t slash = version.find('/');
    const std::string group = slash == std::string::npos ? "" : version.substr(0, slash);
    const Kind* known = find_kind(group, kind);
    if (known == nullptr || known->read == nullptr) {
        ++passed_over_[shown(group.empty() ? kind : kind + "." + group)];
        return;
    }
    if (is_first(object, object.map("metadata"), kind)) known->read(object, objects_);
}

void ObjectReader::add_workloads(Node document) {
    Reading list{problems_};
    const FieldMap fields(document, list);
    fields.only({"workloads"});
    for (const Node element : fields.list("workloads")) {
        Reading reading{problems_};
        const FieldMap entry(element, reading);
        if (!entry && !reading.failed) reading.refuse(element, "is empty; give name and addresses, or take it out");
        if (!reading.failed && is_first(entry, entry, "Pod")) keep<read_workload, &Objects::pods>(entry, objects_);
    }
}

bool ObjectReader::is_first(const FieldMap& object, const FieldMap& meta, const std::string& kind) {
    const std::string ns = meta.text("namespace");
    const std::string key = kind + ' ' + (ns.empty() ? "default" : ns) + '/' + meta.text("name");
    if (object.reading().failed) return false;
    const auto [first, fresh] = seen_.emplace(key, where(object));
    if (!fresh) object.reading().refuse(object.node(), "a second " + shown(key) + ", the first is at " + first->second + "; keep one");
    return fresh;
}

}  // namespace warren::cluster
