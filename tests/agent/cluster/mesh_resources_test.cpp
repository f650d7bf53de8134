// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/mesh_resources.h"

#include "agent/cluster/object_store.h"
#include "agent/cluster/read_objects.h"
#include "agent/cluster/xds_gate.h"
#include "agent/xds/mesh_names.h"
#include "tests/catch.h"

#include <algorithm>

using namespace warren;
using namespace warren::cluster;

namespace {

Outputs outputs(const std::string& yaml) {
    ObjectReader reader;
    reader.add(yaml, "t.yaml");
    Outputs out = convert(reader.objects(), {}, reader.problems());
    REQUIRE(reader.problems().errors() == std::vector<std::string>());
    return out;
}

const std::string kService =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.1, "
    "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n---\n";
std::string list(const std::string& address) {
    return kService + "workloads:\n- {name: w1, namespace: shop, serviceAccount: web, node: n1, addresses: [" + address +
           ", 'fd00::1'], labels: {app: web}}\n- {name: w2, namespace: shop, node: n2, addresses: [10.0.0.2]}\n";
}
const std::string kW1 = "Kubernetes//Pod/shop/w1";

const xds::ResourceBlock& block(const MeshResources& mesh, std::string_view type, std::string_view name) {
    const auto* found = mesh.snapshot().find(type)->second.find(name);
    REQUIRE(found != nullptr);
    return *found;
}

std::vector<std::string> keys(const xds::ResourceBlock& of, bool aliases) {
    std::vector<std::string> out;
    of.each_key([&](std::string_view key, uint32_t, bool alias) {
        if (alias == aliases) out.emplace_back(key);
    });
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

TEST_CASE("mesh resources: names, aliases and groups of the contract") {
    MeshResources mesh(true);
    CHECK(mesh.types() == std::vector<std::string>{std::string(kAddressType), std::string(kWorkloadType), std::string(kAuthorizationType)});
    mesh.update(
        outputs("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\n"
                "spec: {mtls: {mode: STRICT}}\n---\n" +
                list("10.0.0.1")));
    const auto& service = block(mesh, kAddressType, "shop/web.shop.svc.cluster.local");
    CHECK(keys(service, true) == std::vector<std::string>{"/10.96.0.1"});
    CHECK(keys(service, false) == std::vector<std::string>{"warren:services"});
    const auto& workload = block(mesh, kAddressType, kW1);
    CHECK(keys(workload, true) == std::vector<std::string>{"/10.0.0.1", "/fd00::1"});
    CHECK(keys(workload, false) == std::vector<std::string>{"node:n1", "shop/web.shop.svc.cluster.local"});
    CHECK(block(mesh, kAuthorizationType, "istio-system/istio_converted_static_strict").version().size() == 16);
    // The older type has the message itself.
    istio::workload::Workload old;
    const auto body = block(mesh, kWorkloadType, kW1).body();
    REQUIRE(old.ParseFromArray(body.data(), static_cast<int>(body.size())));
    CHECK(old.name() == "w1");
    CHECK(mesh.snapshot().find(kWorkloadType)->second.size() == 2);
    const Outputs again = outputs_of(mesh.snapshot());
    CHECK(again.workloads.at(kW1).SerializeAsString() == old.SerializeAsString());
    CHECK(again.services.size() == 1);
    xds::NodeInfo node;
    node.metadata = {{"NODE_NAME", "n1"}};
    CHECK(xds::implied_names(node, kAddressType) == std::vector<std::string>{"node:n1"});
    CHECK(xds::implied_names(node, kAuthorizationType).empty());
}

TEST_CASE("mesh resources: versions are of the content alone, and what did not change is not made again") {
    MeshResources one(false), two(false);
    one.update(outputs(list("10.0.0.9")));
    const auto* w2 = &block(one, kAddressType, "Kubernetes//Pod/shop/w2");
    const xds::Snapshot before = one.snapshot();
    const auto changes = one.update(outputs(list("10.0.0.1")));
    CHECK((changes.set == 1 && changes.removed == 0 && one.refused().empty()));
    CHECK(w2 == &block(one, kAddressType, "Kubernetes//Pod/shop/w2"));
    CHECK(before.find(kAddressType)->second.find(kW1)->version() != block(one, kAddressType, kW1).version());
    two.update(outputs(list("10.0.0.1")));  // another history, another process: the same versions
    one.snapshot().find(kAddressType)->second.for_each([&](const xds::ResourceBlock& resource) {
        CHECK(block(two, kAddressType, resource.name()).same_content(resource));
    });
    CHECK(one.update(outputs("workloads: []")).removed == 3);
    CHECK(content_version("abc") == "ba7816bf8f01cfea");  // FIPS 180-2, B.1
}

TEST_CASE("mesh resources: traps 46, 47, 48: a policy and the workloads that name it are one state, when it comes, goes and comes back") {
    ObjectReader reader;
    reader.add(list("10.0.0.1"), "t.yaml");
    ObjectStore store;
    for (Pod& pod : reader.objects().pods) {
        Objects one;
        one.pods.push_back(std::move(pod));
        store.upsert(ObjectKind::Pod, one);
    }
    Conversion conversion({});
    MeshResources mesh(false);
    conversion.update(store.objects(), {}, mesh);
    const auto named = [&] {
        istio::workload::Address address;
        const auto body = block(mesh, kAddressType, kW1).body();
        REQUIRE(address.ParseFromArray(body.data(), static_cast<int>(body.size())));
        const auto& names = address.workload().authorization_policies();
        return std::vector<std::string>(names.begin(), names.end());
    };
    const std::string key = "shop/deny";
    const auto sent = [&] { return mesh.snapshot().find(kAuthorizationType)->second.find(key); };
    const auto set_policy = [&] {
        Objects one;
        AuthorizationPolicy policy;
        policy.meta.ns = "shop";
        policy.meta.name = "deny";
        policy.selector = LabelMap{{"app", "web"}};
        policy.action = AuthorizationAction::Deny;
        policy.rules.emplace_back();
        one.authorization_policies.push_back(policy);
        store.upsert(ObjectKind::AuthorizationPolicy, one);
        const Change change{.kind = ObjectKind::AuthorizationPolicy, .key = key};
        conversion.update(store.objects(), {&change, 1}, mesh);
    };
    const auto* w2 = &block(mesh, kAddressType, "Kubernetes//Pod/shop/w2");
    CHECK(named().empty());
    set_policy();
    REQUIRE(sent() != nullptr);
    CHECK(named() == std::vector<std::string>{key});
    const std::string policy_version(sent()->version()), workload_version(block(mesh, kAddressType, kW1).version());
    store.remove(ObjectKind::AuthorizationPolicy, key);
    const Change gone{.kind = ObjectKind::AuthorizationPolicy, .key = key, .removed = true};
    conversion.update(store.objects(), {&gone, 1}, mesh);
    CHECK(sent() == nullptr);
    CHECK(named().empty());
    // A node that was away meanwhile is owed nothing: what came back has the versions that it holds.
    set_policy();
    REQUIRE(sent() != nullptr);
    CHECK(sent()->version() == policy_version);
    CHECK(block(mesh, kAddressType, kW1).version() == workload_version);
    CHECK(w2 == &block(mesh, kAddressType, "Kubernetes//Pod/shop/w2"));
}

TEST_CASE("xds gate: a node is who its certificate says, an account where its token says") {
    const base::RealClock clock;
    const cluster::Authenticator nobody(AuthenticatorParts{});
    XdsGate gate(nobody, {}, clock);
    xds::NodeInfo node;
    node.domain = "istio-system.svc.cluster.local";
    node.metadata = {{"NODE_NAME", "n1"}};
    CHECK(gate.authorize("node/n1", node));
    CHECK(gate.authorize("node/n2", node).error().code == base::Errc::Denied);
    CHECK(gate.authorize("token/rack", node));
    CHECK(gate.authorize("account/istio-system/ztunnel ns/istio-system/sa/ztunnel pod/z", node));
    CHECK(gate.authorize("account/shop/web ns/shop/sa/web", node).error().code == base::Errc::Denied);
    node.metadata["NAMESPACE"] = "shop";
    CHECK(gate.authorize("account/shop/web ns/shop/sa/web", node));
    node.metadata["SERVICE_ACCOUNT"] = "db";
    CHECK(gate.authorize("account/shop/web ns/shop/sa/web", node).error().code == base::Errc::Denied);

    xds::Caller caller;
    caller.peer = "ipv4:10.0.0.1:1";
    base::Errc code{};
    gate.authenticate(caller, [&](base::Result<std::string> who) { code = who.error().code; });
    CHECK(code == base::Errc::Denied);
    CHECK(gate.stats().refused == 1);
}
