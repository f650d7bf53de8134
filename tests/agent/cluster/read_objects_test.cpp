// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/cluster/conversion_fixture.h"

using namespace warren::cluster;

namespace {

std::vector<std::string> errors(const std::string& text, const std::string& name = "t.yaml") {
    ObjectReader reader;
    reader.add(text, name);
    return reader.problems().errors();
}

std::string only_error(const std::string& text, const std::string& name = "t.yaml") {
    const auto all = errors(text, name);
    return all.size() == 1 ? all.front() : std::to_string(all.size()) + " errors, the first " + (all.empty() ? "" : all.front());
}

std::string policy_error(const std::string& spec) {
    return only_error("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec:\n  " + spec);
}

const std::string kPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus: {podIP: 10.0.0.1}\n";

}  // namespace

TEST_CASE("kubernetes objects: documents, lists and JSON") {
    const std::string yaml =
        "# comment\n---\n" + kPod + "---\n\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n}}\n";
    ObjectReader reader;
    reader.add(yaml, "a.yaml");
    reader.add(R"({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "j", "creationTimestamp": null}}]})", "b.json");
    reader.add("{apiVersion: v1, kind: Namespace, metadata: {name: flow, namespace: ''}}", "c.yaml");
    reader.add("{apiVersion: v1, kind: Service, metadata: {name: s, namespace: ''}}", "d.yaml");  // "" and none are the same
    reader.add(R"([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "k"}}])", "-");
    CHECK(reader.problems().errors() == std::vector<std::string>());
    REQUIRE(reader.objects().pods.size() == 3);
    CHECK(reader.objects().pods[0].meta.where == "a.yaml:3");
    CHECK(reader.objects().pods[1].meta.key() == "default/j");
    CHECK(reader.objects().nodes.size() == 1);
    REQUIRE(reader.objects().services.size() == 1);
    CHECK(reader.objects().services[0].meta.key() == "default/s");
    REQUIRE(reader.objects().namespaces.size() == 1);
    CHECK(reader.objects().namespaces[0].meta.labels.at("kubernetes.io/metadata.name") == "flow");
}

TEST_CASE("kubernetes objects: kinds of others are passed over and counted") {
    ObjectReader reader;
    reader.add(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\n"
        "metadata: {name: g}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n",
        "a.yaml");
    CHECK(reader.problems().errors() == std::vector<std::string>());
    CHECK(reader.objects().gateways.empty());
    CHECK(reader.passed_over() ==
          std::map<std::string, size_t>{{"Deployment.apps", 1}, {"Gateway.networking.istio.io", 1}, {"ServiceAccount", 1}});
}

TEST_CASE("kubernetes objects: a problem names file, line, field and what to do") {
    CHECK(only_error("apiVersion: v1\nkind: Pod\n") == "t.yaml:1: metadata.name is missing; add it");
    CHECK(only_error("kind: Pod\n") == "t.yaml:1: apiVersion or kind is missing; every object needs both");
    CHECK(only_error("- 5\n") == "t.yaml:1: [0]: is a text; give a map, {} for an empty one");
    CHECK(only_error(kPod + "---\n" + kPod) == "t.yaml:6: a second Pod default/p, the first is at t.yaml:1; keep one");
    CHECK(only_error("apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}\n") ==
          "t.yaml:3: metadata.name: 'a/b' is no name; use small letters, digits, '-' and '.'");
    CHECK(only_error("apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: [a]}\n") ==
          "t.yaml:3: metadata.labels: is a list; give a map, {} for an empty one");
    CHECK(only_error("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: \"true\"\n") ==
          "t.yaml:5: spec.hostNetwork: is a text; give true or false, without quotes");
    CHECK(errors("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 70000\n").front() ==
          "t.yaml:6: spec.ports[0].port: '70000' is out of range or no number; give a whole number from 0 to 65535");
    CHECK(only_error("{\n \"apiVersion\": \"v1\",\n \"kind\": \"Pod\",\n \"metadata\": {\"name\": 5\n}}x", "t.json")
              .find("t.json:5: not JSON near") == 0);
    CHECK(only_error("a: [\n").find("t.yaml:") == 0);
    CHECK(only_error("a: \xff\n") == "t.yaml:1: not UTF-8; save the file as UTF-8");
    CHECK(only_error(", x") == "t.yaml:1: not YAML: no document can begin so; correct the syntax");  // yaml-cpp alone would not end
    CHECK(only_error("a: &x 1\nb: *x\n").find("aliases (*name) are not supported") != std::string::npos);
}

TEST_CASE("kubernetes objects: JSON knows its lines") {
    CHECK(only_error(
              "{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {\"name\": \"s\"}, \"spec\": {\"ports\": [{\"port\":\n 1,\n"
              "\"targetPort\": 70000\n}]}}",
              "t.json") == "t.json:4: spec.ports[0].targetPort: '70000' is out of range or no number; give a whole number from 0 to 65535");
}

TEST_CASE("kubernetes objects: a policy is read strictly") {
    CHECK(policy_error("action: allow") == "t.yaml:5: spec.action: 'allow' is not known; give one of ALLOW, DENY, AUDIT, CUSTOM");
    CHECK(policy_error("rule: []") ==
          "t.yaml:5: spec key: unknown field 'rule'; the fields here are selector, targetRef, targetRefs, rules, action, provider");
    CHECK(policy_error("rules: [{from: [{source: {principal: [a], namespaces: [b]}}]}]").find("unknown field 'principal'") !=
          std::string::npos);
    CHECK(policy_error("rules: [{from: [{source: {}}]}]").find("source names nothing") != std::string::npos);
    CHECK(policy_error("rules: [{from: [{}]}]").find("source names nothing") != std::string::npos);
    CHECK(policy_error("rules: [{to: [{operation: {ports: []}}]}]").find("operation names nothing") != std::string::npos);
    CHECK(policy_error("rules: [{when: [{key: source.ip}]}]").find("has neither values nor notValues") != std::string::npos);
    CHECK(policy_error("rules: [{when: [{values: [a]}]}]").find("key is missing") != std::string::npos);
    CHECK(policy_error("rules: [null]") == "t.yaml:5: spec.rules[0]: is empty; give a map or remove it");  // would allow all
    CHECK(policy_error("selector: {matchExpressions: []}").find("unknown field 'matchExpressions'") != std::string::npos);
    CHECK(only_error("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: strict}}\n") ==
          "t.yaml:4: spec.mtls.mode: 'strict' is not known; give one of UNSET, DISABLE, PERMISSIVE, STRICT");
}

TEST_CASE("kubernetes objects: every problem is reported, and the other objects are kept") {
    ObjectReader reader;
    reader.add("apiVersion: v1\nkind: Pod\nmetadata: {name: A}\nstatus: {podIP: x}\n---\n" + kPod, "t.yaml");
    CHECK(reader.problems().error_count() == 2);
    CHECK(reader.objects().pods.size() == 1);
    std::string many;
    for (int i = 0; i < 300; ++i) many += "---\n- 1\n";
    reader.add(many, "many.yaml");
    CHECK(reader.problems().error_count() == 302);
    CHECK(reader.problems().errors().size() == Diagnostics::kMaxKept);
}

TEST_CASE("kubernetes objects: depth is bounded, and schemas of others are not too deep") {
    std::string schema = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: ";
    for (int i = 0; i < 60; ++i) schema += "{a: ";
    schema += "1" + std::string(60, '}') + "\n";
    CHECK(errors(schema).empty());
    CHECK(only_error(std::string(200, '[') + "1" + std::string(200, ']'), "t.json") ==
          "t.json:1: nested more than 128 deep; no field that is read is");
}
