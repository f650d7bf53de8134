// SPDX-License-Identifier: Apache-2.0
#include "tests/kube/objects.h"

#include "policy/document_yaml.h"
#include "tests/catch.h"

#include <charconv>

namespace warren::tests {

using nlohmann::json;
using policy::Node;

namespace {

json scalar(Node node) {
    const std::string text(node.text());
    if (node.quoted()) return text;
    if (text == "true") return true;
    if (text == "false") return false;
    int64_t number = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    return failed == std::errc() && end == text.data() + text.size() ? json(number) : json(text);
}

json to_json(Node node) {
    switch (node.kind()) {
        case Node::Kind::Null: return nullptr;
        case Node::Kind::Scalar: return scalar(node);
        case Node::Kind::Sequence: {
            json out = json::array();
            for (const Node element : node) out.push_back(to_json(element));
            return out;
        }
        case Node::Kind::Map: break;
    }
    json out = json::object();
    for (Node at = node.first(); at; at = at.next().next()) out[std::string(at.text())] = to_json(at.next());
    return out;
}

}  // namespace

std::vector<json> objects_of(std::string_view yaml) {
    const auto documents = policy::documents_from_yaml(yaml, "yaml");
    if (!documents) FAIL(documents.error().message());
    std::vector<json> out;
    for (const policy::Document& document : *documents) out.push_back(to_json(document.root()));
    return out;
}

std::vector<kube::Resource> custom_kinds() {
    return {{"security.istio.io", {"v1"}, "authorizationpolicies", "AuthorizationPolicy"},
            {"security.istio.io", {"v1"}, "peerauthentications", "PeerAuthentication"},
            {"networking.istio.io", {"v1"}, "serviceentries", "ServiceEntry"},
            {"networking.istio.io", {"v1"}, "workloadentries", "WorkloadEntry"},
            {"gateway.networking.k8s.io", {"v1"}, "gateways", "Gateway"},
            {"gateway.networking.k8s.io", {"v1"}, "gatewayclasses", "GatewayClass", false}};
}

kube::Resource resource_of(const json& object) {
    std::vector<kube::Resource> all = custom_kinds();
    all.push_back({"", {"v1"}, "pods", "Pod"});
    all.push_back({"", {"v1"}, "nodes", "Node", false});
    all.push_back({"", {"v1"}, "namespaces", "Namespace", false});
    all.push_back({"", {"v1"}, "services", "Service"});
    all.push_back({"", {"v1"}, "serviceaccounts", "ServiceAccount"});
    all.push_back({"", {"v1"}, "configmaps", "ConfigMap"});
    all.push_back({"discovery.k8s.io", {"v1"}, "endpointslices", "EndpointSlice"});
    for (const kube::Resource& one : all)
        if (object["kind"] == one.kind) return one;
    FAIL("no such kind here: " << object["kind"]);
    return {};
}

}  // namespace warren::tests
