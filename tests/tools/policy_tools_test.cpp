// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/cli_fixture.h"
#include "tools/warren/policy_audit.h"

using namespace warren::tools;

namespace {

const std::string kFlows = kCliGolden + "flows.log";
const std::string kShop = WARREN_SOURCE_DIR "/tools/demo/shop.yaml";
const std::string kDump = kCliGolden + "config_dump.json";

size_t count(const Findings& findings, Severity severity, const std::string& part) {
    size_t n = 0;
    for (const Finding& f : findings) n += f.severity == severity && f.what.find(part) != std::string::npos ? 1 : 0;
    return n;
}

}  // namespace

TEST_CASE("policy diff: the mesh the flows were made under changes nothing") {
    const CliRun run = cli({"policy", "diff", kShop, "--flows", kFlows});
    CHECK(run.code == 0);
    CHECK(run.out == "3 recorded flows judged again, 0 would change; 1 were not judged on this node (ask the destination's)\n");
}

TEST_CASE("policy diff: a mesh with other policies shows who would be let in, who out, and by which policy") {
    const Folder folder;
    std::string mesh = read_all(kShop);
    mesh = mesh.substr(0, mesh.find("policies:\n")) + read_all(kCliGolden + "proposal.yaml");
    const size_t listed = mesh.find("[shop/payment-clients, shop/strict]");
    REQUIRE(listed != std::string::npos);
    mesh.replace(listed, 35, "[]");
    const std::string file = folder.write("mesh.yaml", mesh);
    const CliRun run = cli({"policy", "diff", file, "--flows", kFlows, "-o", "json"});
    CHECK(run.code == 3);
    const Json j = Json::parse(run.out);
    REQUIRE(j["changes"].size() == 3);
    std::map<std::string, Json> by_from;
    for (const Json& c : j["changes"]) by_from[text_at(c, "from") + ">" + text_at(c, "to")] = c;
    CHECK(by_from["ops/batch>shop/cart:8080"]["would_be"] == "allowed");
    CHECK(by_from["ops/batch>shop/cart:8080"]["policy"] == "shop/cart-clients");
    CHECK(by_from["shop/frontend>shop/cart:80"]["reason"] == "denied_no_allow_matched");
    // An identity looked up by address proves nothing.
    CHECK(by_from["shop/frontend>ops/batch:8080"]["policy"] == "ops/ops-mtls");
    const CliRun table = cli({"policy", "diff", file, "--flows", kFlows});
    CHECK(table.out.find("3 recorded flows judged again, 3 would change") != std::string::npos);
}

TEST_CASE("policy diff: policies alone are laid over the mesh there is") {
    const Folder folder;
    const std::string flows = folder.write(
        "flows",
        R"({"direction":"inbound","path":"tunnel","source":{"identity":"spiffe://cluster.local/ns/default/sa/client","proof":"certificate"},"destination":{"uid":"Kubernetes//Pod/default/p1b"},"source_address":"10.77.1.2:4","requested_address":"10.77.1.3:7000","destination_address":"10.77.1.3:7000","decision":{"verdict":"allowed","policy":"default/allow-client","reason":"allowed_by_policy"},"start_time":"2026-11-22T10:00:00Z","bytes_to_destination":1,"bytes_to_source":1})"
        "\n");
    const std::string deny = folder.write(
        "deny.yaml", "policies: [{name: shut, namespace: default, scope: Namespace, action: Deny, dryRun: false, rules: [[]]}]\n");
    const CliRun run = cli({"policy", "diff", deny, "--mesh", kDump, "--flows", flows});
    CHECK(run.code == 3);
    CHECK(run.out.find("default/shut") != std::string::npos);
    const std::string unplaced =
        folder.write("unplaced.yaml",
                     "policies: [{name: new, namespace: default, scope: WorkloadSelector, action: Deny, dryRun: false, rules: [[]]}]\n");
    const CliRun note = cli({"policy", "diff", unplaced, "--mesh", kDump, "--flows", flows});
    CHECK(note.code == 0);
    CHECK(note.err.find("policy default/new selects workloads by label") != std::string::npos);
    const CliRun gone = cli({"policy", "diff", unplaced, "--mesh", kDump, "--flows", flows, "--remove", "default/allow-client"});
    CHECK(gone.code == 3);  // listed and missing: denied
    CHECK(gone.out.find("denied_policy_missing") != std::string::npos);
    CHECK(cli({"policy", "diff", unplaced, "--mesh", kDump, "--flows", flows, "--remove", "a/b"}).err.find("no such policy") !=
          std::string::npos);
    const std::string manifest =
        folder.write("manifest.yaml",
                     "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: none, namespace: default}\nspec: {}\n");
    const CliRun kube = cli({"policy", "diff", manifest, "--mesh", kDump, "--flows", flows});
    INFO(kube.err);
    CHECK(kube.code == 0);  // allow-client still allows
    CHECK(cli({"policy", "diff", folder.write("empty.yaml", "services: []\n"), "--mesh", kDump, "--flows", flows}).code == 1);
}

TEST_CASE("policy explain: a dump is a mesh too, and no is exit code 3") {
    CHECK(cli({"policy", "explain", "-f", kDump, "default/p1", "default/p2", "7000"}).code == 0);
    const CliRun no = cli({"policy", "explain", "-f", kDump, "default/p2b", "default/p2", "7000"});
    CHECK(no.code == 3);
    const FakeDaemon tunnel({{"/config_dump", read_all(kDump)}});
    CHECK(cli({"policy", "explain", "--tunnel", tunnel.address(), "default/p2b", "default/p2", "7000"}).out == no.out);
}

TEST_CASE("policy audit: finds what is wide open, idle, refused, missing, and what dry runs would change") {
    const Json dump = Json::parse(R"({"workloads": [
        {"name": "a", "namespace": "x", "protocol": "HBONE", "authorizationPolicies": ["x/open", "x/gone"]},
        {"name": "b", "namespace": "x", "protocol": "HBONE"}, {"name": "c", "namespace": "x", "protocol": "TCP"}],
      "policies": [
        {"name": "open", "namespace": "x", "scope": "WorkloadSelector", "action": "Allow", "rules": [[], [[{"destinationPorts": [1]}]], [[{"principals": [{"Presence": []}]}]], [[{"principals": [{"Exact": "p"}]}]]]},
        {"name": "idle", "namespace": "y", "scope": "Namespace", "action": "Deny", "rules": [[]]},
        {"name": "bad", "namespace": "x", "scope": "WorkloadSelector", "action": "Deny", "rules": [], "refusedBecause": "rules[0]: no"}]})");
    const Findings plain = audit_policies(dump, nullptr);
    CHECK(count(plain, Severity::Warning, "x/open, rule 1 allows every source") == 1);
    CHECK(count(plain, Severity::Warning, "x/open, rule 2 allows every source") == 1);
    CHECK(count(plain, Severity::Note, "x/open, rule 3 allows every identity") == 1);
    CHECK(count(plain, Severity::Warning, "rule 4") == 0);
    CHECK(count(plain, Severity::Note, "y/idle applies to no workload") == 1);
    CHECK(count(plain, Severity::Error, "x/bad was refused") == 1);
    CHECK(count(plain, Severity::Error, "x/a lists policy x/gone") == 1);
    CHECK(count(plain, Severity::Note, "1 workload of the mesh has no policy, so everybody may connect: x/b") == 1);
    const auto flows = flows_of_text(read_all(kFlows), "f");
    REQUIRE(flows);
    const Findings full = audit_policies(dump, &*flows);
    CHECK(count(full, Severity::Warning, "shop/frontend -> ops/batch:8080: allowed now, denied under ops/strict (1 flow)") == 1);
    CHECK(count(full, Severity::Note, "x/open decided none of the 4 recorded flows") == 1);
    CHECK(cli({"policy", "audit", "-f", kDump, "--flows", kFlows}).code == 3);
}
