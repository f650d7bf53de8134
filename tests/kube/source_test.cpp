// SPDX-License-Identifier: Apache-2.0
// The controller's source against a real API server: what it holds is what a fresh list holds, whatever happened on the way.
#include "agent/cluster/convert.h"
#include "agent/cluster/kube_source.h"
#include "agent/cluster/to_json.h"
#include "tests/catch.h"
#include "tests/kube/mesh_at.h"

#include <algorithm>
#include <filesystem>

using namespace warren;
using namespace warren::tests;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

const fs::path kVectors = fs::path(WARREN_SOURCE_DIR) / "tests/golden/conversion";

std::string read_file(const fs::path& path) {
    auto text = kube::read_small_file(path);
    REQUIRE(text);
    return *text;
}

std::string pods_yaml(const std::string& ns, int from, int to, const std::string& app = "web") {
    std::string out;
    for (int i = from; i < to; ++i)
        out += "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p" + std::to_string(i) + ", namespace: " + ns + ", labels: {app: " + app +
               "}}\nspec: {nodeName: n1, containers: [{name: a, image: a}]}\nstatus: {phase: Running, podIP: 10.1.0." + std::to_string(i) +
               ", podIPs: [{ip: 10.1.0." + std::to_string(i) + "}]}\n";
    return out;
}

std::string policy_yaml(const std::string& name, const std::string& spec) {
    return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name + ", namespace: a}\nspec: " + spec +
           "\n";
}

size_t pods_in(const json& mesh) { return mesh["workloads"].size(); }

}  // namespace

TEST_CASE("kube: every recorded conversion through the watch") {
    ApiServer server;
    server.install_definitions();
    server.apply(read_file(kVectors / "_nodes.yaml"));
    MeshAt mesh(server.endpoint());
    REQUIRE(mesh.eventually([](const json&) { return true; }));
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(kVectors)) {
        const std::string name = entry.path().filename();
        if (name.ends_with(".in.yaml")) names.push_back(name.substr(0, name.size() - 8));
    }
    std::sort(names.begin(), names.end());
    CHECK(names.size() == 78);
    for (const std::string& name : names) {
        INFO(name);
        const std::string input = read_file(kVectors / (name + ".in.yaml"));
        server.apply(input);
        const json want = comparable(json::parse(read_file(kVectors / (name + ".want.json"))));
        if (!mesh.eventually([&](const json& got) { return got == want; })) CHECK(mesh.now() == want);
        server.remove(input);
        REQUIRE(mesh.eventually(
            [&](const json& got) { return pods_in(got) == 0 && got["services"].empty() && got["authorizations"].empty(); }));
    }
    CHECK(mesh.source().status().errors == std::vector<std::string>());
}

TEST_CASE("kube: an API server that goes and comes back loses nothing") {
    ApiServer server;
    server.install_definitions();
    server.apply(pods_yaml("a", 1, 20) + policy_yaml("p", "{action: DENY, rules: [{to: [{operation: {ports: ['22']}}]}]}"));
    MeshAt mesh(server.endpoint());
    REQUIRE(mesh.eventually([](const json& got) { return pods_in(got) == 19; }));
    server.stop_api();
    REQUIRE(eventually([&] { return mesh.source().status().error_count > 0; }));
    CHECK(pods_in(mesh.now()) == 19);
    server.start_api();
    server.apply(pods_yaml("a", 20, 30));
    server.remove(pods_yaml("a", 1, 5));
    CHECK(mesh.eventually([](const json& got) { return pods_in(got) == 25; }));
    CHECK(mesh.now() == MeshAt(server.endpoint()).first());
    CHECK(mesh.now()["authorizations"].size() == 1);
    CHECK(eventually([&] { return mesh.source().status().errors.empty(); }));
}

TEST_CASE("kube: watches that are cut go on without a list") {
    ApiServer server;
    server.install_definitions();
    server.apply(pods_yaml("a", 1, 10));
    TcpProxy proxy(server.port());
    MeshAt mesh(server.endpoint(proxy.port()));
    REQUIRE(mesh.eventually([](const json& got) { return pods_in(got) == 9; }));
    const uint64_t lists = mesh.source().status().counters["lists"];
    for (int round = 0; round < 5; ++round) {
        proxy.cut();
        server.apply(pods_yaml("a", 10 + round, 11 + round));
        REQUIRE(mesh.eventually([&](const json& got) { return pods_in(got) == static_cast<size_t>(10 + round); }));
    }
    CHECK(mesh.source().status().counters["lists"] == lists);
    CHECK(mesh.now() == MeshAt(server.endpoint()).first());
}

TEST_CASE("kube: what the server has forgotten meanwhile is listed") {
    ApiServer server;
    server.install_definitions();
    server.apply(pods_yaml("a", 1, 10));
    TcpProxy proxy(server.port());
    MeshAt mesh(server.endpoint(proxy.port()));
    REQUIRE(mesh.eventually([](const json& got) { return pods_in(got) == 9; }));
    proxy.refuse(true);
    proxy.cut();
    server.remove(pods_yaml("a", 1, 4));
    server.apply(pods_yaml("a", 20, 25, "other") + pods_yaml("a", 5, 6, "changed"));
    server.stop_api();  // its watch cache would know
    server.start_api();
    server.compact();
    server.stop_api();
    server.start_api();
    CHECK(pods_in(mesh.now()) == 9);
    proxy.refuse(false);
    CHECK(mesh.eventually([](const json& got) { return pods_in(got) == 11; }));
    CHECK(eventually([&] { return mesh.source().status().counters["expired"] >= 1; }));
    CHECK(mesh.now() == MeshAt(server.endpoint()).first());
}

TEST_CASE("kube: a list of many pages") {
    ApiServer server;
    server.install_definitions();
    server.apply(pods_yaml("a", 1, 101));
    MeshAt mesh(server.endpoint(), 7);
    CHECK(mesh.eventually([](const json& got) { return pods_in(got) == 100; }));
    CHECK(mesh.now() == MeshAt(server.endpoint()).first());
}

TEST_CASE("kube: kinds whose definitions come later") {
    ApiServer server;
    server.apply(pods_yaml("a", 1, 2));
    MeshAt mesh(server.endpoint());
    REQUIRE(mesh.eventually([](const json& got) { return pods_in(got) == 1; }));
    server.install_definitions();
    server.apply(policy_yaml("p", "{}"));
    CHECK(mesh.eventually([](const json& got) { return got["authorizations"].contains("a/p"); }));
}

TEST_CASE("kube: an object that cannot be read is reported and harms no other") {
    ApiServer server;
    server.install_definitions();
    const std::string good = "{selector: {matchLabels: {app: web}}, action: DENY, rules: [{to: [{operation: {ports: ['22']}}]}]}";
    server.apply(pods_yaml("a", 1, 2) + policy_yaml("kept", good) +
                 policy_yaml("odd", "{selector: {matchLabels: {app: web}}, action: DENY, rules: [{fromm: [{}]}]}"));
    MeshAt mesh(server.endpoint());
    REQUIRE(mesh.eventually([](const json& got) { return got["authorizations"].size() == 2; }));
    // At its strictest: everything that it selects is denied.
    CHECK(mesh.now()["authorizations"]["a/odd"]["action"] == "DENY");
    CHECK(mesh.now()["authorizations"]["a/odd"]["rules"].size() == 1);
    CHECK(mesh.now()["authorizations"]["a/odd"]["scope"] == "WORKLOAD_SELECTOR");
    const json kept = mesh.now()["authorizations"]["a/kept"];
    server.apply(policy_yaml("kept", "{selector: {matchLabels: {app: web}}, action: DENY, rules: 7}") + pods_yaml("a", 2, 3));
    REQUIRE(mesh.eventually([](const json& got) { return pods_in(got) == 2; }));
    REQUIRE(eventually([&] { return mesh.source().status().error_count == 2; }));
    CHECK(mesh.now()["authorizations"]["a/kept"] == kept);
    const auto errors = mesh.source().status().errors;
    CHECK(errors[0] ==
          "AuthorizationPolicy a/kept: spec.rules: is a text; give a list, [] for an empty one (its earlier version stays in force)");
    CHECK(errors[1].starts_with("AuthorizationPolicy a/odd: spec.rules[0] key: unknown field 'fromm'"));
    server.apply(policy_yaml("kept", good));
    server.remove(policy_yaml("odd", "{}"));
    CHECK(eventually([&] { return mesh.source().status().error_count == 0; }));
    CHECK(mesh.eventually([](const json& got) { return got["authorizations"].size() == 1; }));
}
