// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/discovery_selectors.h"

#include "tests/agent/cluster/conversion_fixture.h"

#include <string>

using namespace warren::cluster;

namespace {

std::string names(std::string_view text, const std::string& labels) {
    const auto selectors = read_discovery_selectors(text).value();
    LabelMap map;
    map.emplace(labels.substr(0, labels.find('=')), labels.substr(labels.find('=') + 1));
    std::string out;
    for (const LabelSelector& one : selectors) out += one.matches(map) ? '+' : '-';
    return out;
}

std::string refused(std::string_view text) {
    const auto read = read_discovery_selectors(text);
    return read ? "accepted" : read.error().message();
}

}  // namespace

TEST_CASE("discovery selectors: as MeshConfig has them, YAML or JSON") {
    CHECK(read_discovery_selectors("")->empty());
    CHECK(read_discovery_selectors("[]")->empty());
    CHECK(names("- matchLabels: {env: prod}\n- matchExpressions: [{key: env, operator: In, values: [dev, test]}]\n", "env=test") == "-+");
    CHECK(names(R"([{"matchLabels":{"env":"prod"}},{"matchExpressions":[{"key":"old","operator":"DoesNotExist"}]}])", "env=prod") == "++");
    CHECK(names("[{matchLabels: {env: prod}, matchExpressions: [{key: old, operator: DoesNotExist}]}]", "old=1") == "-");
    CHECK(names("[{}]", "any=1") == "+");
}

TEST_CASE("discovery selectors: one that would be read as less than it says is refused") {
    CHECK(refused("{matchLabels: {env: prod}}").find("no list; give it as in MeshConfig") != std::string::npos);
    CHECK(refused("[{matchLabel: {env: prod}}]").find("unknown field 'matchLabel'") != std::string::npos);
    CHECK(refused("[null]").find("is empty; give matchLabels") != std::string::npos);
    CHECK(refused("[env=prod]") != "accepted");
    CHECK(refused("[{matchExpressions: [{key: env, operator: In}]}]").find("In and NotIn need values") != std::string::npos);
    CHECK(refused("[{matchExpressions: [{key: env, operator: Exists, values: [a]}]}]").find("take no values") != std::string::npos);
    CHECK(refused("[{matchExpressions: [{key: env, values: [a]}]}]").find("has no operator") != std::string::npos);
    CHECK(refused("[{matchExpressions: [{operator: Exists}]}]").find("has no key") != std::string::npos);
    CHECK(refused("[{matchExpressions: [{key: env, operator: Near}]}]").find("'Near' is not known; give one of In, NotIn") !=
          std::string::npos);
    CHECK(refused("[]\n---\n[]\n").find("more than one document") != std::string::npos);
    CHECK(refused("[{matchLabels: {a: b}") != "accepted");
}

TEST_CASE("conversion: only chosen namespaces count, and a root namespace left out is told") {
    const auto ns = [](const std::string& name, const std::string& labels) {
        return object_yaml("v1", "Namespace", "name: " + name + ", labels: {" + labels + "}", "");
    };
    const std::string policy =
        object_yaml("security.istio.io/v1", "AuthorizationPolicy", "name: p, namespace: istio-system", "spec: {action: DENY, rules: [{}]}");
    const std::string objects = ns("in", "mesh: 'on'") + ns("out", "mesh: 'off'") + pod_yaml("in", "a") +
                                pod_yaml("out", "b", "labels: {app: web}", "nodeName: n1", "phase: Running, podIP: 10.0.0.2") + policy;
    Settings settings;
    settings.discovery = read_discovery_selectors("[{matchLabels: {mesh: 'on'}}]").value();
    const Converted without = converted(objects + ns("istio-system", "a: b"), settings);
    CHECK_FALSE(without.pod("in/a").is_null());
    CHECK(without.pod("out/b").is_null());
    CHECK(without.outputs.authorizations.empty());
    REQUIRE(without.problems.warnings().size() == 1);
    CHECK(without.problems.warnings()[0].find("mesh.discovery-selectors leave out istio-system: its policies") == 0);
    const Converted with = converted(objects + ns("istio-system", "mesh: 'on'"), settings);
    CHECK(with.problems.warnings().empty());
    CHECK(with.outputs.authorizations.size() == 1);
}
